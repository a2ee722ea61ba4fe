"""Phase `agent`: the daemon runs, from the very bundle that this apply runs from, now and after every boot.

What runs is asked of the daemon itself (`ping`), never remembered: a hung one gives no answer and is
restarted, one of another bundle names it.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import List

from machinectl_agent.bundle import CURRENT, ROOT, own_hash
from machinectl_agent.daemon import client
from machinectl_agent.engine.api import wait_until
from machinectl_agent.host import Host
from machinectl_agent.phases.base import Context, Step, Work, write_step
from machinectl_agent.problems import Problem
from machinectl_agent.reloading import reload_for
from machinectl_agent.templates import render

UNIT = "machinectl-agent.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
WANTED_LINK = f"/etc/systemd/system/multi-user.target.wants/{UNIT}"

START_DEADLINE = 30.0
"""Seconds until the socket answers; Python's start on a slow, loaded machine."""

JOURNAL_LINES = 12


@dataclass(frozen=True)
class Seen:
    """The unit as it is on the disk, the link, and which bundle answers."""

    text: str
    enabled: bool
    current: str
    """Name of the bundle that `current` is."""
    running: str
    """The bundle's hash that the daemon runs from; `-` where no daemon answers."""


class AgentPhase:
    """Needs no wish of the spec: every machine has the daemon."""

    name = "agent"

    def observe(self, host: Host, context: Context) -> Seen:
        link = host.path(CURRENT)
        return Seen(
            text=host.read(UNIT_FILE) or "",
            enabled=host.path(WANTED_LINK).is_symlink(),
            current=os.path.basename(os.readlink(link)) if link.is_symlink() else "",  # noqa: PTH115, PTH119 - a name
            running=running_bundle(),
        )

    def plan(self, seen: Seen, context: Context) -> List[Step]:
        mine = own_hash()
        text = render(UNIT, python=sys.executable, current=CURRENT)
        steps = []
        if mine and seen.current != mine:
            title = f"~ make {mine[:12]} the current agent" + (
                f" (now {seen.current[:12]})" if seen.current else ""
            )
            steps.append(Step(f"{self.name}/current", title, switch_current))
        steps.extend(write_step(self.name, UNIT_FILE, seen.text, text))
        if not seen.enabled:
            steps.append(Step(f"{self.name}/enable", f"+ enable {UNIT} at boot", _enable))
        if seen.running != mine or seen.text != text:
            if seen.running == "-":
                title = f"+ start {UNIT}"
            elif seen.running != mine:
                title = f"! restart {UNIT} (it runs from {seen.running[:12]})"
            else:
                title = f"! restart {UNIT} (its unit changes)"
            steps.append(Step(f"{self.name}/start", title, start))
        return steps


def running_bundle(deadline: float = 10.0) -> str:
    """The hash that the daemon answers with; `-` where none answers."""
    try:
        return str(client.ask("ping", deadline=deadline)["bundle"])
    except (Problem, KeyError):
        return "-"


def switch_current(work: Work) -> None:
    """As the bootstrap does it: `previous` is what was there, and there is no moment without `current`."""
    root = work.host.path(ROOT)
    before = os.readlink(root / "current") if (root / "current").is_symlink() else ""  # noqa: PTH115 - a name
    for name, target in (("previous", before), ("current", own_hash())):
        if target:
            temporary = root / f"{name}.tmp.{os.getpid()}"
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(target)
            temporary.replace(root / name)


def start(work: Work) -> None:
    """Returns when the daemon of this bundle answers. Raises `Problem` `agent-start-failed`."""
    host = work.host
    reload_for(host, UNIT)
    host.run("systemctl", "reset-failed", UNIT, deadline=20)
    done = host.run("systemctl", "restart", UNIT, deadline=START_DEADLINE + 15)
    if done.ok and wait_until(lambda: running_bundle(1.0) == own_hash(), START_DEADLINE):
        return
    written = host.run(
        "journalctl", "-u", UNIT, "-o", "cat", "--no-pager", "-n", str(JOURNAL_LINES), deadline=20
    )
    raise Problem(
        "agent-start-failed",
        f"{UNIT} does not come up",
        why=written.stdout.strip() or done.tail(),
        hint=f"look at `journalctl -u {UNIT}` on the host",
    )


def _enable(work: Work) -> None:
    work.host.must("systemctl", "enable", "--no-reload", UNIT, deadline=60)


def removal_steps(host: Host) -> List[Step]:
    """What takes the daemon off a machine; the bundle itself stays for the one who runs this."""
    steps = []
    if host.exists(UNIT_FILE):
        steps.append(Step("agent/stop", f"- stop and disable {UNIT}", _disable))
        steps.append(Step("agent/remove", f"- remove {UNIT_FILE}", _remove))
    return steps


def _disable(work: Work) -> None:
    work.host.must("systemctl", "disable", "--now", UNIT, deadline=60)


def _remove(work: Work) -> None:
    work.host.remove(UNIT_FILE)
    work.host.must("systemctl", "daemon-reload", deadline=60)
    work.host.run("systemctl", "reset-failed", UNIT, deadline=20)
