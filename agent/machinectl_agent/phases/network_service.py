"""The network service's two units: what they should be, what runs, how they are started and taken away."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Dict, List, Mapping

from machinectl_agent.bundle import CURRENT, own_hash
from machinectl_agent.daemon import client
from machinectl_agent.daemon.settings import NETWORK_SOCKET
from machinectl_agent.engine.api import wait_until
from machinectl_agent.engine.loaded import newer
from machinectl_agent.host import Host
from machinectl_agent.network.paths import CONFIG, PLUGIN_SOCKET
from machinectl_agent.phases.base import Work
from machinectl_agent.problems import Problem
from machinectl_agent.templates import render

SERVICE = "machinectl-network.service"
SOCKET = "machinectl-network.socket"
UNITS = (SOCKET, SERVICE)
LINKS = {
    SOCKET: f"/etc/systemd/system/sockets.target.wants/{SOCKET}",
    SERVICE: f"/etc/systemd/system/multi-user.target.wants/{SERVICE}",
}

START_DEADLINE = 60.0
"""Seconds until the service answers; Python's start on a slow, loaded machine."""

JOURNAL_LINES = 12


@dataclass(frozen=True)
class Running:
    """What answers on the control socket."""

    bundle: str = "-"
    """The hash that it runs from; `-` where nothing answers."""
    pid: int = 0
    stale: bool = False
    """Its configuration or its unit were written after it had started."""


SILENT = Running()


def unit_file(unit: str) -> str:
    return f"/etc/systemd/system/{unit}"


def unit_texts() -> Dict[str, str]:
    """Unit → its text."""
    return {
        SOCKET: render(SOCKET, socket=PLUGIN_SOCKET),
        SERVICE: render(SERVICE, python=sys.executable, current=CURRENT, config=CONFIG),
    }


def enabled(host: Host, unit: str) -> bool:
    return host.path(LINKS[unit]).is_symlink()


def listening(host: Host) -> bool:
    """systemd holds dockerd's way to us open, and its name is there."""
    state = host.run("systemctl", "is-active", SOCKET, deadline=20).stdout.strip()
    return state == "active" and host.exists(PLUGIN_SOCKET)


def running(host: Host, deadline: float = 10.0) -> Running:
    """Asked of the service itself, never remembered."""
    try:
        answer = client.ask("ping", path=NETWORK_SOCKET, deadline=deadline)
        bundle, pid = str(answer["bundle"]), int(answer["pid"])
    except (Problem, KeyError, TypeError, ValueError):
        return SILENT
    return Running(bundle, pid, any(newer(host, name, pid) for name in (CONFIG, unit_file(SERVICE))))


def ask(verb: str, args: Mapping[str, object], deadline: float) -> Dict[str, object]:
    """The service's answer. Raises its `Problem`, or `daemon-silent`."""
    return client.ask(verb, args, path=NETWORK_SOCKET, deadline=deadline)


def enable(work: Work) -> None:
    # what starts it reloads systemd, which costs the host 100 ms each time
    work.host.must("systemctl", "enable", "--no-reload", *UNITS, deadline=60)


def listen(work: Work) -> None:
    """A socket can't be opened beside its running service, so that goes first; what dockerd asks meanwhile waits in
    its own retries."""
    host = work.host
    host.must("systemctl", "daemon-reload", deadline=60)
    host.run("systemctl", "reset-failed", *UNITS, deadline=20)
    host.run("systemctl", "stop", SERVICE, deadline=45)
    host.must("systemctl", "restart", SOCKET, deadline=60)


def start(work: Work) -> None:
    """Returns when the service of this bundle answers. Raises `Problem` `network-start-failed`."""
    host = work.host
    host.must("systemctl", "daemon-reload", deadline=60)
    host.run("systemctl", "reset-failed", SERVICE, deadline=20)
    try:
        done = host.run("systemctl", "restart", SERVICE, deadline=START_DEADLINE + 15)
    except Problem as problem:
        raise _not_up(host, problem.what) from problem
    if done.ok and wait_until(lambda: running(host, 1.0).bundle == own_hash(), START_DEADLINE):
        return
    raise _not_up(host, done.tail())


def stop(work: Work) -> None:
    """Also after a stop that was cut off: whatever of it is there."""
    host = work.host
    host.must("systemctl", "daemon-reload", deadline=60)
    there = [unit for unit in UNITS if host.exists(unit_file(unit))]
    if there:
        host.must("systemctl", "disable", *there, deadline=60)
    # the service last would be started anew by a call of dockerd's
    host.run("systemctl", "stop", *UNITS, deadline=60)
    host.remove(PLUGIN_SOCKET)


def journal(host: Host) -> str:
    """The service's own last words."""
    words = ("journalctl", "-u", SERVICE, "-o", "cat", "--no-pager", "-n", str(JOURNAL_LINES))
    return host.run(*words, deadline=20).stdout.strip()


def _not_up(host: Host, otherwise: str) -> Problem:
    return Problem(
        "network-start-failed",
        f"{SERVICE} does not come up",
        why=journal(host) or otherwise,
        hint=f"look at `journalctl -u {SERVICE}` on the host",
    )


def left_over(host: Host) -> List[str]:
    """Unit files that are on the disk."""
    return [unit_file(unit) for unit in UNITS if host.exists(unit_file(unit))]
