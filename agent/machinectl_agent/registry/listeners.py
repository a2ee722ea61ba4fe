"""Who listens on a TCP port of this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import List, Optional

from machinectl_agent.host import Host

_LISTEN = "0A"
"""TCP_LISTEN in /proc/net/tcp (proc(5))."""


@dataclass(frozen=True)
class Listener:
    """The program that has the port; all of it empty where it can't be found."""

    pid: str = ""
    name: str = ""
    group: str = ""
    """Its control groups' paths: the unit's name is in them."""

    def __str__(self) -> str:
        unit = next((one for one in reversed(self.group.split("/")) if one.strip().endswith(".service")), "")
        unit = unit.strip()
        where = f", {unit}" if unit else ""
        return f"{self.name} (pid {self.pid}{where})" if self.pid else "a program that can't be seen"


def inodes(table: str, port: int) -> List[str]:
    """Pure: the listening sockets of a port in the text of /proc/net/tcp or tcp6."""
    found = []
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) > 9 and words[3] == _LISTEN and int(words[1].rpartition(":")[2], 16) == port:
            found.append(words[9])
    return found


def listener(host: Host, port: int) -> Optional[Listener]:
    """None where the port is free."""
    found = [
        inode for name in ("tcp", "tcp6") for inode in inodes(host.read(f"/proc/net/{name}") or "", port)
    ]
    if not found:
        return None
    wanted = {f"socket:[{inode}]" for inode in found}
    for pid in filter(str.isdigit, host.names("/proc")):
        try:
            folder = host.path(f"/proc/{pid}/fd")
            if any(os.readlink(one) in wanted for one in folder.iterdir()):  # noqa: PTH115 - no path, a name
                return Listener(
                    pid,
                    (host.read(f"/proc/{pid}/comm") or "").strip(),
                    host.read(f"/proc/{pid}/cgroup") or "",
                )
        except OSError:  # it has ended
            continue
    return Listener()
