"""The verb `power`: dockerd is started, stopped or killed; the host is rebooted.

start    the wish to be stopped is forgotten; enabled, started, and it answers
stop     the wish is kept first; disabled, socket and service stopped
kill     the same, but dockerd gets a SIGKILL instead of time
reboot   as start, by way of a reboot of the whole host
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, Mapping, Tuple

from machinectl_agent.engine import api, unit
from machinectl_agent.engine.end_containers import container_processes, end_containers
from machinectl_agent.engine.stopped import forget_stopped, wish_stopped
from machinectl_agent.host import Host
from machinectl_agent.lock import apply_lock
from machinectl_agent.phases.base import Work
from machinectl_agent.phases.engine_service import enable, show_unit, start
from machinectl_agent.problems import Problem
from machinectl_agent.runner import Emit

STOP_DEADLINE = 120.0
"""Seconds; dockerd without live-restore gives its containers 15 s."""

KILL_DEADLINE = 20.0

SOCKET = "docker.socket"


@dataclass(frozen=True)
class _Order:
    work: Work
    state: Mapping[str, str]
    """docker.service as systemd sees it."""
    emit: Emit
    who: str
    containers: bool
    """A stop ends them, too."""

    @property
    def host(self) -> Host:
        return self.work.host


def power(work: Work, args: Mapping[str, Any], emit: Emit) -> Dict[str, Any]:
    """args: action, for (who runs the controller), containers (end them, too) → was (active before), containers
    (running afterwards, or ended). Raises `Problem`.

    A reboot is announced by an event `boot`: the answer may get lost in it.
    """
    action = _ACTIONS.get(str(args.get("action")))
    if action is None:
        raise Problem("spec", f"the agent does not know how to {args.get('action')} an engine")
    with apply_lock(work.log, who=str(args.get("for", ""))):
        state = show_unit(work.host)
        if state.get("LoadState") == "not-found":
            raise Problem(
                "engine-missing", "there is no docker.service on this host", hint="machinectl provision NAME"
            )
        order = _Order(work, state, emit, str(args.get("for", "")), bool(args.get("containers")))
        return {"was": state.get("ActiveState") == "active", "containers": action(order)}


def _start(order: _Order) -> int:
    if order.state.get("LoadState") == "masked":
        raise Problem(
            "engine-masked",
            "docker.service is masked on this host: somebody has forbidden it to run",
            hint="`systemctl unmask docker.service docker.socket` on the host, if that is meant",
        )
    forget_stopped(order.host)
    if order.state.get("UnitFileState") != "enabled":
        enable(order.work)
    if order.state.get("ActiveState") != "active":
        start(order.work)
    return len(container_processes(order.host))


def _stop(order: _Order) -> int:
    units = _stay_down(order)
    try:
        order.host.must("systemctl", "stop", *units, deadline=STOP_DEADLINE)
    except Problem as problem:
        raise Problem(
            "engine-stop-failed", "dockerd does not stop", why=problem.what, hint="machinectl kill NAME"
        ) from problem
    return _stopped(order)


def _kill(order: _Order) -> int:
    units = _stay_down(order)
    # queued first: a unit that is being stopped is not restarted by systemd when its process dies
    order.host.must("systemctl", "stop", "--no-block", *units, deadline=KILL_DEADLINE)
    # the main process only: containers are children of the unit where dockerd runs its own containerd
    order.host.run("systemctl", "kill", "--kill-who=main", "--signal=KILL", unit.UNIT, deadline=KILL_DEADLINE)
    if not api.wait_until(lambda: show_unit(order.host).get("ActiveState") in ("inactive", "failed"), 20):
        raise Problem(
            "engine-stop-failed",
            "dockerd was killed and is not gone",
            why="a process that waits for a disk does not hear signals",
            hint="look at `systemctl status docker` and the kernel's log on the host",
        )
    return _stopped(order)


def _reboot(order: _Order) -> int:
    forget_stopped(order.host)
    if order.state.get("LoadState") == "loaded" and order.state.get("UnitFileState") != "enabled":
        enable(order.work)
    order.emit({"event": "boot"})
    # -i: we are root and were asked to, whoever sits at the host
    order.host.must("systemctl", "reboot", "-i", "--no-block", deadline=60)
    return len(container_processes(order.host))


def _stay_down(order: _Order) -> Tuple[str, ...]:
    """The wish, and no start at boot nor by a client that opens the socket. The units that there are."""
    wish_stopped(order.host, order.who)
    there = order.host.run("systemctl", "cat", SOCKET, deadline=20).ok
    units = (SOCKET, unit.UNIT) if there else (unit.UNIT,)
    order.host.must("systemctl", "disable", *units, deadline=60)
    return units


def _stopped(order: _Order) -> int:
    # killed while it was being stopped counts as failed, which the agent's daemon would look after
    order.host.run("systemctl", "reset-failed", unit.UNIT, deadline=20)
    if order.containers:
        return end_containers(order.host)
    return len(container_processes(order.host))


_ACTIONS: Dict[str, Callable[[_Order], int]] = {
    "start": _start,
    "stop": _stop,
    "kill": _kill,
    "reboot": _reboot,
}
