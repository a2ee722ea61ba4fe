"""A service of ours whose process carries a mark in its environment: the configuration that it was started with.

A unit's file tells what is wanted; what runs may still be what was wanted before.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Tuple

from machinectl_agent.host import Host


@dataclass(frozen=True)
class Running:
    """`mark`: the configuration that the process was started with; empty: it does not run."""

    active: str = ""
    """systemd's ActiveState."""
    restarts: int = 0
    """systemd's own."""
    mark: str = ""
    stale: bool = False
    """Its program has been replaced since it was started."""


def mark_in(text: str, variable: str) -> str:
    """Of a unit's text or of a process's environment."""
    found = re.search(rf"{variable}=([0-9a-f]+)", text)
    return found[1] if found else ""


def running(host: Host, unit: str, variable: str) -> Running:
    """What systemd and the process say of it."""
    shown = host.run("systemctl", "show", unit, "-p", "ActiveState,NRestarts,MainPID", deadline=20).stdout
    values = dict(line.partition("=")[::2] for line in shown.splitlines())
    mark, program = _process(host, values.get("MainPID", "0"), variable)
    restarts = values.get("NRestarts", "0")
    return Running(
        active=values.get("ActiveState", ""),
        restarts=int(restarts) if restarts.isdigit() else 0,
        mark=mark,
        stale=program.endswith(" (deleted)"),
    )


def _process(host: Host, pid: str, variable: str) -> Tuple[str, str]:
    """The mark in its environment, and its program; empty where it has ended, which it may do at any moment."""
    try:
        mark = mark_in(host.read(f"/proc/{pid}/environ") or "", variable) if pid != "0" else ""
        return mark, str(host.path(f"/proc/{pid}/exe").readlink()) if mark else ""
    except OSError:  # ESRCH, too
        return "", ""
