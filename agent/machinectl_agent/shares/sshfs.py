"""The other end of a share by sshfs: a unit of systemd's that mounts it, and what Docker's local driver is told.

The key is made here and never leaves this host. The volume is the folder `data` in the mountpoint: while nothing is
mounted it is not there, and a container that wants it fails to start instead of writing into an empty folder.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, List

from machinectl_agent.facts import Facts
from machinectl_agent.host import Host
from machinectl_agent.problems import Problem
from machinectl_agent.shares.checks import ensure_program, no_fuse
from machinectl_agent.shares.naming import home, mounting_unit, mountpoint
from machinectl_agent.templates import render

UNITS = "/etc/systemd/system"
START_DEADLINE = 60.0
_DESCRIPTION = re.compile(r"^Description=Share \S+ of (\S+), by sshfs$", re.MULTILINE)


def check(host: Host) -> None:
    reason = no_fuse(host)
    if reason:
        raise Problem(
            "no-fuse",
            "this host can't mount by sshfs",
            why=reason,
            hint="`modprobe fuse`; a container must be given /dev/fuse",
        )


def own_key(host: Host, facts: Facts, name: str) -> str:
    """The public key of this host for this share, made where it is missing; sshfs is installed by then."""
    check(host)
    ensure_program(host, facts, "sshfs", "sshfs")
    key = f"{home(name)}/key"
    host.make_folder(home(name), 0o700)
    if not host.exists(key):
        host.must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "machinectl-share", "-f", key)
    return " ".join((host.read(f"{key}.pub") or "").split()[:2])


def sshfs_words(name: str, server: str, port: int) -> List[str]:
    """Pure: sshfs's arguments, none of which needs quotes in a unit."""
    place = home(name)
    options = [
        f"IdentityFile={place}/key", "IdentitiesOnly=yes", f"UserKnownHostsFile={place}/known_hosts",
        "GlobalKnownHostsFile=/dev/null", "StrictHostKeyChecking=yes", "HostKeyAlgorithms=ssh-ed25519",
        f"HostKeyAlias={name}", f"Port={port}", "ConnectTimeout=10", "BatchMode=yes",
        # a server that was away is found again without a new mount, which containers would not see
        "reconnect", "ServerAliveInterval=15", "ServerAliveCountMax=3",
        # other machines write, too: what is known of a name holds for a second
        "allow_other", "dcache_timeout=1", "noatime",
        # else what ssh itself says is thrown away
        "sshfs_verbose",
    ]  # fmt: skip
    host = f"[{server}]" if ":" in server else server
    return ["-F", "/dev/null", "-o", ",".join(options), f"root@{host}:/", mountpoint(name)]


def volume_options(name: str) -> Dict[str, str]:
    """Pure: for `docker volume create --driver local`."""
    return {"type": "none", "o": "bind", "device": f"{mountpoint(name)}/data"}


def mount(host: Host, facts: Facts, name: str, server: str, port: int, key: str, *, machine: str) -> None:
    """Mounted when it returns, and at every boot. Raises `Problem` with sshfs's own words."""
    check(host)
    sshfs = ensure_program(host, facts, "sshfs", "sshfs")
    host.write(f"{home(name)}/known_hosts", f"{name} {key}\n", 0o600)
    place = mountpoint(name)
    if not is_mounted(name):
        host.make_folder(place, 0o755)
    unit = mounting_unit(name)
    words = " ".join(sshfs_words(name, server, port))
    text = render(
        "machinectl-mount.service", name=name, server=machine, mountpoint=place, sshfs=sshfs, words=words
    )
    same = host.read(f"{UNITS}/{unit}") == text and host.run("systemctl", "is-active", "-q", unit).ok
    host.write(f"{UNITS}/{unit}", text)
    host.must("systemctl", "daemon-reload", deadline=60)
    host.must("systemctl", "enable", "-q", unit)
    if same and Path(place, "data").is_dir():
        return
    done = host.run("systemctl", "restart", unit, deadline=START_DEADLINE)
    if not done.ok or not Path(place, "data").is_dir():
        said = host.run("journalctl", "-q", "-b", "-u", unit, "-n", "20", "-o", "cat", deadline=20).stdout
        unmount(host, name)
        raise Problem(
            "share-mount-failed",
            f"the share {name} of {machine} can't be mounted",
            why=telling(said) or done.tail(),
            hint=f"a firewall must let TCP port {port} pass to {server}",
        )


def unmount(host: Host, name: str) -> None:
    unit = mounting_unit(name)
    if host.exists(f"{UNITS}/{unit}"):
        host.must("systemctl", "disable", "-q", "--now", unit, deadline=START_DEADLINE)
        host.remove(f"{UNITS}/{unit}")
        host.must("systemctl", "daemon-reload", deadline=60)
    if is_mounted(name):
        raise Problem(
            "share-busy",
            f"{mountpoint(name)} is still mounted",
            hint=f"`fuser -vm {mountpoint(name)}` says by whom",
        )
    folder = Path(mountpoint(name))
    if folder.is_dir():
        folder.rmdir()  # it is empty, or somebody else's: then this fails


def server_of(host: Host, name: str) -> str:
    """The machine that the mount's unit names; empty where there is no unit."""
    text = host.read(f"{UNITS}/{mounting_unit(name)}") or ""
    found = _DESCRIPTION.search(text)
    return found[1] if found else ""


def units(host: Host) -> Dict[str, str]:
    """Of all mounts that have a unit: the share's name → the machine that exports it."""
    files = host.names(UNITS, ".service")
    names = [
        one[len("machinectl-mount-") : -len(".service")]
        for one in files
        if one.startswith("machinectl-mount-")
    ]
    return {name: server_of(host, name) for name in names}


def is_mounted(name: str) -> bool:
    return is_mounted_at(mountpoint(name))


def is_mounted_at(folder: str) -> bool:
    """By the kernel's table: a stat of a mount whose server is away would hang."""
    table = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    return any(line.split()[1:2] == [folder] for line in table.splitlines())


def telling(journal: str) -> str:
    """Pure: the lines of ssh and sshfs, without systemd's own."""
    noise = ("Start", "Stopp", "Failed to start ", "Control process", "Scheduled restart", "SSHFS version")
    lines = [line for line in journal.splitlines() if line.strip() and not line.startswith(noise)]
    return "\n".join(line for line in lines[-4:] if "machinectl-mount" not in line)
