"""Phase `containers`: no shutdown is held up by containers that dockerd left running (see the template)."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import List

from machinectl_agent.bundle import CURRENT
from machinectl_agent.daemon.systemd import INVOCATIONS
from machinectl_agent.host import Host
from machinectl_agent.phases.base import Context, Step, Work, write_step
from machinectl_agent.reloading import reload_for
from machinectl_agent.templates import render

UNIT = "machinectl-containers.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"


@dataclass(frozen=True)
class Seen:
    """The unit's text, and whether systemd has started it: only then it is stopped at the shutdown."""

    text: str
    enabled: bool
    active: bool


class ContainersPhase:
    """Needs no wish of the spec."""

    name = "containers"

    def observe(self, host: Host, context: Context) -> Seen:
        return Seen(
            text=host.read(UNIT_FILE) or "",
            enabled=host.path(f"/etc/systemd/system/multi-user.target.wants/{UNIT}").is_symlink(),
            active=_is_active(host),
        )

    def plan(self, seen: Seen, context: Context) -> List[Step]:
        text = render(UNIT, python=sys.executable, current=CURRENT)
        steps = list(write_step(self.name, UNIT_FILE, seen.text, text))
        if steps or not (seen.enabled and seen.active):
            steps.append(Step(f"{self.name}/enable", f"+ enable and start {UNIT}", _enable))
        return steps


def _is_active(host: Host) -> bool:
    # systemd has such a link for every unit that is neither inactive nor failed: nothing is started to ask
    link = host.path(f"{INVOCATIONS}/invocation:{UNIT}")
    return (
        link.is_symlink() or host.run("systemctl", "is-active", UNIT, deadline=20).stdout.strip() == "active"
    )


def _enable(work: Work) -> None:
    work.host.must("systemctl", "enable", "--no-reload", UNIT, deadline=60)
    reload_for(work.host, UNIT)
    work.host.must("systemctl", "start", UNIT, deadline=60)
