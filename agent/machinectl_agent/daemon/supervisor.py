"""Looks after dockerd: look, judge (rules.py), act; over and over, from what is there and not from what was.

A dockerd that is well costs two readlink(2) and a ping per look, and no child process. Its death is noticed
at once by a pidfd where the kernel has them (5.3).
"""

from __future__ import annotations

import fcntl
import os
import select
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any, Callable, Dict, Optional

from machinectl_agent.daemon import rules
from machinectl_agent.daemon.engine_socket import Listener, Ping, ping
from machinectl_agent.daemon.journal import Journal, timestamp
from machinectl_agent.daemon.settings import Settings
from machinectl_agent.daemon.systemd import Systemd, UnitState

RELOOK = 60.0
"""Seconds after which systemd is asked about a stopped dockerd although nothing seems to have changed."""

_SETTLED = ("active", "inactive", "failed")


class Supervisor:
    """`tick` is one round; `run` is all of them. `snapshot` may be called from any thread."""

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        systemd: Systemd,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._systemd = systemd
        self._clock = clock
        self._listener = Listener(settings.engine_socket)
        self._memory = rules.Memory()
        self._unit = UnitState()
        self._mark: Optional[str] = None
        self._asked_at = 0.0
        self._pidfd = -1
        self._lock = threading.Lock()
        self._verdict = rules.Verdict("unknown")
        self._ping = Ping("not asked yet")
        self._since = time.time()
        self._restarts = 0
        self._interventions = 0
        self._last_pid = 0
        self._last_problem: Optional[Dict[str, str]] = None
        self.beat = clock()
        """When the last round ended, for the watchdog."""

    def run(self, ended: int) -> None:
        """Until the descriptor `ended` becomes readable."""
        while True:
            self.tick()
            poll = select.poll()
            poll.register(ended, select.POLLIN)
            if self._pidfd >= 0 and not self._died():  # systemd may need a moment to see that it has
                poll.register(self._pidfd, select.POLLIN)
            well = self._verdict.state in ("running", "stopped", "missing", "masked", "mute")
            pause = self._settings.interval if well else self._settings.hurry
            if any(descriptor == ended for descriptor, _ in poll.poll(pause * 1000)):
                return

    def tick(self) -> str:
        """One round; the action that was taken, if any."""
        seen = self._look()
        verdict, memory = rules.judge(seen, self._memory, self._clock())
        if verdict.action:
            # what systemd said may be a minute old: nothing is done before it says so again
            seen = self._look(fresh=True)
            verdict, memory = rules.judge(seen, self._memory, self._clock())
        self._memory = memory
        done = self._act(verdict) if verdict.action else ""
        self._remember(seen, verdict)
        self.beat = self._clock()
        return done

    def snapshot(self) -> Dict[str, Any]:
        """state, since (RFC 3339), active, sub, pid, version, latency (ms, None: no answer), restarts,
        interventions, problem, last_problem (None or time and text)."""
        with self._lock:
            answered = self._ping if not self._ping.trouble else None
            return {
                "state": self._verdict.state,
                "since": timestamp(self._since),
                "active": self._unit.active,
                "sub": self._unit.sub,
                "pid": self._unit.pid,
                "version": self._ping.version,
                "latency": round(answered.seconds * 1000, 1) if answered else None,
                "restarts": self._restarts,
                "interventions": self._interventions,
                "problem": self._verdict.problem,
                "last_problem": self._last_problem,
            }

    def _look(self, *, fresh: bool = False) -> rules.Seen:
        now = self._clock()
        mark = self._systemd.mark()
        if fresh or mark is None or mark != self._mark or self._unsettled(now):
            self._ask_systemd(mark, now)
        seen = self._ask_dockerd()
        if self._unit.active == "active" and (seen.ping is None or seen.ping.trouble) and not fresh:
            # it may have been stopped between the two questions
            self._ask_systemd(mark, now)
            seen = rules.Seen(self._unit, seen.installed, seen.listens, seen.ping)
        return seen

    def _unsettled(self, now: float) -> bool:
        if self._unit.active == "active":
            return self._died()
        return self._unit.active not in _SETTLED or now - self._asked_at >= RELOOK

    def _died(self) -> bool:
        return self._pidfd >= 0 and bool(select.select([self._pidfd], [], [], 0)[0])

    def _ask_systemd(self, mark: Optional[str], now: float) -> None:
        unit = self._systemd.show()
        with self._lock:
            changed = unit.pid != self._unit.pid
            self._unit = unit
        self._mark, self._asked_at = mark, now
        if changed or (unit.pid and self._pidfd < 0):
            self._watch(unit.pid)

    def _ask_dockerd(self) -> rules.Seen:
        unit = self._unit
        installed = os.path.exists(unit.program)  # noqa: PTH110 - no pathlib here
        if unit.active != "active" or not self._listener.held_by(unit.pid):
            return rules.Seen(unit, installed)
        answer = ping(self._settings.engine_socket, self._settings.ping_deadline)
        return rules.Seen(unit, installed, listens=True, ping=answer)

    def _watch(self, pid: int) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        if pid:
            with suppress(OSError, AttributeError):  # an old kernel, or it ended just now
                self._pidfd = os.pidfd_open(pid)

    def _act(self, verdict: rules.Verdict) -> str:
        try:
            lock = open(self._settings.apply_lock, "a", encoding="utf-8")  # noqa: SIM115 - closed below
        except OSError as error:
            self._journal.say(
                "error", f"{self._settings.apply_lock}: {error.strerror}; dockerd is left alone"
            )
            return ""
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self._memory = rules.postponed(self._memory)
                return ""
            self._journal.say("warning", f"{verdict.why}: {verdict.action}ing docker.service")
            work = self._systemd.restart if verdict.action == "restart" else self._systemd.start
            trouble = work()
        if trouble:
            self._journal.say("error", f"docker.service can't be {verdict.action}ed: {trouble}")
        with self._lock:
            self._interventions += 1
        self._memory = rules.acted(self._memory, self._clock())
        return verdict.action

    def _remember(self, seen: rules.Seen, verdict: rules.Verdict) -> None:
        before = self._verdict
        pid = seen.unit.pid if verdict.state == "running" else 0
        with self._lock:
            if seen.ping or seen.unit.active != "active":
                answer = seen.ping or Ping("not running")
                # the version that it said last stays known while it says nothing
                self._ping = replace(answer, version=answer.version or self._ping.version)
            if pid and self._last_pid and pid != self._last_pid:
                self._restarts += 1
                self._journal.say("notice", f"dockerd was restarted: pid {self._last_pid} is now {pid}")
            self._last_pid = pid or self._last_pid
            if verdict.state != before.state:
                self._since = time.time()
            if verdict.problem and verdict.problem != before.problem:
                self._last_problem = {"time": timestamp(time.time()), "text": verdict.problem}
            self._verdict = verdict
        if verdict.state != before.state:
            level = "warning" if verdict.problem else "note"
            text = verdict.problem or verdict.why
            self._journal.say(
                level, f"engine: {verdict.state} (was {before.state})" + (f": {text}" if text else "")
            )
