"""Finds the engine that is on a host, whoever put it there."""

from __future__ import annotations

import re
from typing import Collection, Sequence

from machinectl_agent.host import Host
from machinectl_agent.memo import once_per_boot
from machinectl_agent.problems import Problem
from machinectl_agent.provisioners.base import Installed


def find_engine(host: Host, present: Collection[str], packages: Sequence[str]) -> Installed:
    """`present`: installed packages, half-installed ones too; `packages`: those that contain a dockerd."""
    dockerd = host.which("dockerd")
    owner = ""
    # /usr/local belongs to people, packages never put anything there (FHS 4.9)
    if dockerd and not dockerd.startswith("/usr/local/"):
        owner = next((name for name in packages if name in present), "")
    return Installed(
        dockerd=dockerd,
        version=engine_version(host),
        package=owner,
        client=bool(host.which("docker")),
    )


def engine_version(host: Host) -> str:
    """As `dockerd --version` says it; empty where there is none or where it does not run."""
    dockerd = host.which("dockerd")
    if not dockerd:
        return ""
    status = host.path(dockerd).stat()
    # path, inode, size and time name the file; its start costs 40 ms
    same = (dockerd, status.st_ino, status.st_size, status.st_mtime_ns)
    return once_per_boot("dockerd", same, lambda: _asked(host, dockerd))


def _asked(host: Host, dockerd: str) -> str:
    try:
        return parse_version(host.run(dockerd, "--version", deadline=20).stdout)
    except (Problem, OSError):
        return ""  # another architecture's binary, a broken one


def parse_version(said: str) -> str:
    """`Docker version 20.10.24+dfsg1, build 5d6db84` → `20.10.24+dfsg1`."""
    match = re.search(r"version v?([^\s,]+)", said)
    return match[1] if match else ""
