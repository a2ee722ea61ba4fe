"""A share over NFS: an export in a file of its own, and what Docker's local driver is told to mount it.

The kernel serves, the distribution's nfs-kernel-server sets it up. root stays root (no_root_squash): containers
change owners in their volumes. So each export is for the addresses of the machines that have the share, and nobody
else. fsid lets a folder of any file system be exported, and stays the same over reboots.

The kernel tells files by handles that are good for their whole file system: root on a client can make one up for a
file beside the share (exports(5), on no_subtree_check, which most uses of a volume need). Only a file system of its
own keeps the clients to the share.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import uuid
from pathlib import Path
from typing import Dict, Iterable

from machinectl_agent.facts import Facts
from machinectl_agent.host import Host
from machinectl_agent.problems import Problem
from machinectl_agent.shares.checks import ensure_program, no_nfs_client, no_nfs_server
from machinectl_agent.shares.naming import exports_file
from machinectl_agent.shares.record import Record
from machinectl_agent.templates import HEADER

SERVICE = "nfs-server.service"
VERSIONS = ("4.2", "4.1")
MOUNT_DEADLINE = 20.0

_INSTEAD = "--via sshfs does without; or boot a kernel that has it: the distribution's standard ones do"


def render_exports(record: Record) -> str:
    """Pure: exports(5)."""
    options = f"rw,sync,no_subtree_check,no_root_squash,fsid={fsid(record.name)}"
    clients = " ".join(f"{one}({options})" for one in sorted({c.address for c in record.clients.values()}))
    return f"# {HEADER}\n{record.folder} {clients}\n"


def fsid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"machinectl-share:{name}"))


def is_part(host: Host, folder: str) -> bool:
    """Of a file system that has other things, too; so is a volume that is yet to be made (empty)."""
    mounts = host.read("/proc/self/mountinfo") or ""
    return not folder or not has_own_file_system(mounts, os.path.realpath(folder))


def has_own_file_system(mounts: str, folder: str) -> bool:
    """Pure: `mounts` is /proc/self/mountinfo (proc(5)). A bound folder or a subvolume is a part of another one."""
    for line in reversed(mounts.splitlines()):
        words = line.split()
        if words[4:5] == [folder]:
            return words[3] == "/"  # the last one mounted there is what is seen
    return False


def volume_options(server: str, folder: str, version: str) -> Dict[str, str]:
    """Pure: for `docker volume create --driver local`. dockerd mounts by itself, so the host needs no mount.nfs."""
    words = f"addr={server},nfsvers={version},rw,hard,timeo=600,retrans=2"
    return {"type": "nfs", "o": words, "device": f":{folder}"}


def check_server(host: Host) -> None:
    reason = no_nfs_server(host)
    if reason:
        raise Problem("no-nfs-server", "this host can't serve NFS", why=reason, hint=_INSTEAD)


def check_client(host: Host) -> None:
    reason = no_nfs_client(host)
    if reason:
        raise Problem("no-nfs-client", "this host can't mount NFS", why=reason, hint=_INSTEAD)


def export(host: Host, facts: Facts, record: Record) -> None:
    """Raises `Problem`; the exports are as before then."""
    check_server(host)
    exportfs = ensure_program(host, facts, "nfs", "exportfs")
    before = host.read(exports_file(record.name))
    host.write(exports_file(record.name), render_exports(record))
    host.must("systemctl", "enable", "-q", SERVICE, deadline=60)
    done = host.run(exportfs, "-ra", deadline=60)
    if done.ok:
        done = host.run("systemctl", "start", SERVICE, deadline=90)
    if not done.ok:
        if before is None:
            host.remove(exports_file(record.name))
        else:
            host.write(exports_file(record.name), before)
        host.run(exportfs, "-ra", deadline=60)
        raise Problem("nfs-export-failed", "the NFS server does not take the export", why=done.tail())


def unexport(host: Host, name: str) -> None:
    """The server itself goes on: others may use it."""
    if not host.exists(exports_file(name)):
        return
    host.remove(exports_file(name))
    if host.which("exportfs"):
        host.must("exportfs", "-ra", deadline=60)


def try_mount(host: Host, server: str, folder: str, versions: Iterable[str] = VERSIONS) -> str:
    """Mounts it for a moment, as dockerd will: the newest version of NFS that both sides know. Raises `Problem`."""
    check_client(host)
    words = ""
    place = tempfile.mkdtemp(prefix="machinectl-share-", dir="/run")
    try:
        for version in versions:
            options = f"addr={server},nfsvers={version},rw,soft,timeo=50,retrans=1"
            done = host.run(
                "mount", "-i", "-t", "nfs", "-o", options, f":{folder}", place, deadline=MOUNT_DEADLINE
            )
            if done.ok:
                host.must("umount", place, deadline=MOUNT_DEADLINE)
                return version
            words = done.tail()
    finally:
        # only ever the empty folder: what is still mounted stays
        with contextlib.suppress(OSError):
            Path(place).rmdir()
    raise Problem(
        "nfs-mount-failed",
        f"{server}:{folder} can't be mounted by NFS",
        why=words,
        hint="a firewall must let TCP port 2049 pass to the exporting machine",
    )
