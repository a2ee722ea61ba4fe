"""When the agent steps in for dockerd, and when it does not. Pure: no clock, no I/O.

systemd restarts a dockerd that dies (Restart=always). What is left for the agent:

    active, and silent for 3 checks       say so, keep watching
    active, and silent for 3 minutes      restart it: `_ping` takes no lock in dockerd, a busy one answers
    failed (the start limit was hit)      start it again after 10 s, 20 s, … 5 min
    inactive                              an admin has stopped it: leave it alone
    failed, killed while being stopped    the same: the admin's stop took longer than TimeoutStopSec
    activating, deactivating, reloading   systemd is at work: wait
    not installed, masked                 an upgrade is under way, or an admin's decision: wait
    not listening on its unix socket      configured that way, nothing to judge it by: leave it alone

Whoever acts on a verdict has to hold the lock of `apply`; while somebody else does, everything starts over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Optional, Tuple

from machinectl_agent.daemon.engine_socket import Ping
from machinectl_agent.daemon.systemd import UnitState

SILENT_CHECKS = 3
RESTART_AFTER = 180.0
"""Seconds of silence; short enough for a night without an admin, far beyond a disk's worst hiccup."""

FIRST_RETRY = 10.0
LAST_RETRY = 300.0
STABLE = 600.0
"""Seconds of good answers after which earlier attempts are forgotten."""

_AT_WORK = ("activating", "deactivating", "reloading", "refreshing", "maintenance")


@dataclass(frozen=True)
class Seen:
    """One look at the engine."""

    unit: UnitState
    installed: bool = True
    """The program dockerd is there; dpkg takes it away for a moment in an upgrade."""
    listens: bool = False
    """The main process holds the API's unix socket."""
    ping: Optional[Ping] = None
    """None: not asked, because nobody listens."""


@dataclass(frozen=True)
class Memory:
    """What the next verdict depends on besides what is seen. Times are of the monotonic clock."""

    pid: int = 0
    answered: int = 0
    """The pid that answered last: one that has listened before and does not now is silent, not mute."""
    silent_checks: int = 0
    silent_since: float = 0.0
    well_since: float = 0.0
    attempts: int = 0
    next_try: float = 0.0
    """0: not failed."""


@dataclass(frozen=True)
class Verdict:
    """`state` for people and programs, `action` `restart`, `start` or empty, and why."""

    state: str
    action: str = ""
    why: str = ""
    problem: str = ""
    """Not empty: something that an admin should know about."""


def judge(seen: Seen, memory: Memory, now: float) -> Tuple[Verdict, Memory]:
    """The verdict and what to remember. Asked twice with the same memory it answers the same."""
    unit = seen.unit
    if unit.pid != memory.pid:
        memory = replace(memory, pid=unit.pid, silent_checks=0, silent_since=0.0)
    if unit.active != "failed":
        memory = replace(memory, next_try=0.0)
    if unit.active != "active":
        memory = replace(memory, silent_checks=0, silent_since=0.0, well_since=0.0)
    well = bool(seen.ping and not seen.ping.trouble)
    if unit.active == "active" and (well or (unit.load == "loaded" and seen.installed)):
        return _judge_active(seen, memory, now)  # where it answers it runs, whatever dpkg does with its file
    if unit.active == "failed" and unit.load == "loaded" and seen.installed:
        return _judge_failed(unit, memory, now)
    return _left_alone(seen), memory


def _left_alone(seen: Seen) -> Verdict:
    unit = seen.unit
    if not unit.active:
        return Verdict("unknown", problem="systemd does not tell docker.service's state")
    if unit.load == "masked":
        return Verdict("masked")
    if unit.load != "loaded" or not seen.installed:
        return Verdict("missing")
    if unit.active in _AT_WORK:
        return Verdict("starting" if unit.active == "activating" else unit.active)
    return Verdict("stopped")


def acted(memory: Memory, now: float) -> Memory:
    """After an action: the next one has to wait twice as long, and the silence is counted from here."""
    wait = min(LAST_RETRY, FIRST_RETRY * 2 ** (memory.attempts + 1))
    return replace(
        memory, attempts=memory.attempts + 1, next_try=now + wait, silent_checks=0, silent_since=0.0
    )


def postponed(memory: Memory) -> Memory:
    """Somebody else is at work on the machine: start counting anew."""
    return replace(memory, next_try=0.0, silent_checks=0, silent_since=0.0)


def _judge_active(seen: Seen, memory: Memory, now: float) -> Tuple[Verdict, Memory]:
    ping = seen.ping
    if ping and not ping.trouble:
        since = memory.well_since or now
        attempts = 0 if now - since >= STABLE else memory.attempts
        memory = replace(
            memory,
            answered=seen.unit.pid,
            silent_checks=0,
            silent_since=0.0,
            well_since=since,
            attempts=attempts,
        )
        return Verdict("running"), memory
    if not seen.listens and memory.answered != seen.unit.pid:
        return Verdict("mute", problem="dockerd does not listen on its unix socket"), memory
    trouble = ping.trouble if ping else "dockerd no longer listens on its unix socket"
    memory = replace(
        memory,
        silent_checks=memory.silent_checks + 1,
        silent_since=memory.silent_since or now,
        well_since=0.0,
    )
    if memory.silent_checks < SILENT_CHECKS:
        return Verdict("running"), memory
    silence = now - memory.silent_since
    if silence < RESTART_AFTER:
        return Verdict("silent", problem=f"dockerd does not answer: {trouble}"), memory
    why = f"dockerd has not answered for {silence:.0f} s ({trouble})"
    return Verdict("silent", "restart", why, why), memory


def _judge_failed(unit: UnitState, memory: Memory, now: float) -> Tuple[Verdict, Memory]:
    # with Restart=always systemd itself deals with a start or a run that times out, so this was a stop
    if unit.result == "timeout" and unit.restart == "always":
        return Verdict("stopped", why="it had to be killed to be stopped"), memory
    problem = f"docker.service has failed ({unit.result})"
    if not memory.next_try:
        wait = min(LAST_RETRY, FIRST_RETRY * 2**memory.attempts)
        memory = replace(memory, next_try=now + wait)
    if now < memory.next_try:
        return Verdict("failed", problem=problem), memory
    return Verdict("failed", "start", problem, problem), memory
