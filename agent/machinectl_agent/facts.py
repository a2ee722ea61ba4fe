"""Facts about the host that every phase may use. Each is one read and one pure function of its text."""

from __future__ import annotations

import os
import re
import shlex
import sys
from dataclasses import asdict, dataclass
from typing import Any, Dict, Optional, Tuple

from machinectl_agent.host import Host


@dataclass(frozen=True)
class Facts:
    """What kind of host this is. All of it is shown by `machinectl agent status`."""

    os_id: str
    """ID of os-release(5): `debian`, `fedora`, …"""
    os_like: Tuple[str, ...]
    """ID_LIKE, nearest first."""
    os_name: str
    """PRETTY_NAME, for people."""
    os_version: str
    """VERSION_ID; empty on rolling releases."""
    os_codename: str
    """VERSION_CODENAME; `sid` and rolling releases may have none."""
    arch: str
    """Machine as uname(1) says it: `x86_64`, `aarch64`."""
    kernel: str
    python: str
    systemd: bool
    """systemd is the running init (sd_booted(3))."""
    container: str
    """systemd-detect-virt's word where the host is itself a container; it shares clock and kernel then."""

    def to_json(self) -> Dict[str, Any]:
        return asdict(self)


def gather(host: Host) -> Facts:
    """Reads files only; costs about a millisecond."""
    release = parse_os_release(host.read("/etc/os-release") or host.read("/usr/lib/os-release") or "")
    return Facts(
        os_id=release.get("ID", "linux"),
        os_like=tuple(release.get("ID_LIKE", "").split()),
        os_name=release.get("PRETTY_NAME", release.get("NAME", "Linux")),
        os_version=release.get("VERSION_ID", ""),
        os_codename=release.get("VERSION_CODENAME", release.get("UBUNTU_CODENAME", "")),
        arch=os.uname().machine,
        kernel=os.uname().release,
        python=".".join(str(part) for part in sys.version_info[:3]),
        systemd=host.exists("/run/systemd/system"),
        container=parse_container(host.read("/run/systemd/container"), host.read("/proc/1/environ")),
    )


def parse_os_release(text: str) -> Dict[str, str]:
    """os-release(5): shell-like assignments, quotes allowed, anything else is ignored."""
    found = {}
    for line in text.splitlines():
        match = re.fullmatch(r"([A-Z][A-Z0-9_]*)=(.*)", line.strip())
        if not match:
            continue
        try:
            words = shlex.split(match[2])
        except ValueError:
            continue
        found[match[1]] = words[0] if words else ""
    return found


def parse_container(marker: Optional[str], environment: Optional[str]) -> str:
    """The container manager's name: systemd's own note in /run, else `container=` of process 1."""
    if marker and marker.strip():
        return marker.strip()
    for word in (environment or "").split("\0"):
        if word.startswith("container="):
            return word.partition("=")[2]
    return ""
