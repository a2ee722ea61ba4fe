"""Whether a host and its kernel can serve or mount a share; the reason is a sentence, empty where they can."""

from __future__ import annotations

import os
import socket

from machinectl_agent.facts import Facts
from machinectl_agent.host import Host
from machinectl_agent.problems import Problem
from machinectl_agent.provisioners.choose import choose

PACKAGES = {
    "nfs": {"debian": "nfs-kernel-server", "redhat": "nfs-utils", "suse": "nfs-kernel-server", "arch": "nfs-utils"},
    "sshfs": {"debian": "sshfs", "redhat": "fuse-sshfs", "suse": "sshfs", "arch": "sshfs"},
    "sshd": {"debian": "openssh-server", "redhat": "openssh-server", "suse": "openssh-server", "arch": "openssh"},
}  # fmt: skip

FUSE = "/dev/fuse"


def no_nfs_server(host: Host) -> str:
    return "" if _has(host, "nfsd", "nfsd") else f"the kernel {_release()} has no NFS server (module nfsd)"


def no_nfs_client(host: Host) -> str:
    return "" if _has(host, "nfs4", "nfsv4") else f"the kernel {_release()} has no NFS client (module nfsv4)"


def no_fuse(host: Host) -> str:
    if host.which("modprobe"):
        host.run("modprobe", "-q", "fuse", deadline=20)
    if host.exists(FUSE):
        return ""
    return f"there is no {FUSE}: the kernel {_release()} has no FUSE, or this is a container without it"


def address_towards(server: str) -> str:
    """The own address that a connection to `server` would come from. Nothing is sent. Raises `Problem`."""
    try:
        found = socket.getaddrinfo(server, 2049, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, place = found[0]
        with socket.socket(family, kind, protocol) as asked:
            asked.connect(place)
            return str(asked.getsockname()[0])
    except OSError as error:
        raise Problem(
            "share-route",
            f"this host has no way to {server}",
            why=str(error.strerror or error),
            hint="--address names one that the other machines reach",
        ) from error


def ensure_program(host: Host, facts: Facts, what: str, program: str) -> str:
    """The program's path, its package installed where need be. Raises `Problem`."""
    found = host.which(program)
    if not found:
        family = choose(facts, "")
        family.install(host, PACKAGES[what][family.name])
        found = host.which(program)
    if not found:
        raise Problem("command-missing", f"{program} is not on this host, although its package is")
    return found


def _has(host: Host, kind: str, module: str) -> bool:
    if host.which("modprobe"):
        host.run("modprobe", "-q", module, deadline=20)
    return any(line.split()[-1:] == [kind] for line in (host.read("/proc/filesystems") or "").splitlines())


def _release() -> str:
    return os.uname().release
