"""What `status`, `events` and `ping` answer."""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Dict, Mapping

from machinectl_agent import wire
from machinectl_agent.bundle import own_hash
from machinectl_agent.daemon.conversation import Answer
from machinectl_agent.daemon.journal import Journal, timestamp
from machinectl_agent.daemon.supervisor import Supervisor
from machinectl_agent.problems import Problem
from machinectl_agent.version import __version__

RECENT = 5
"""Events that `status` shows."""


class Desk:
    """Answers for one daemon."""

    def __init__(self, journal: Journal, supervisor: Supervisor) -> None:
        self._journal = journal
        self._supervisor = supervisor
        self._started = time.time()
        self._began = time.monotonic()

    def answers(self) -> Dict[str, Answer]:
        """Verb → function."""
        return {"ping": self.ping, "status": self.status, "events": self.events}

    def ping(self, args: Mapping[str, Any]) -> Dict[str, Any]:
        """version, bundle, pid."""
        return {"version": __version__, "bundle": own_hash(), "pid": os.getpid()}

    def status(self, args: Mapping[str, Any]) -> Dict[str, Any]:
        """agent (uptime in seconds, memory in bytes), engine (Supervisor.snapshot) and the recent events."""
        agent = {
            **self.ping(args),
            "wire": wire.WIRE,
            "started": timestamp(self._started),
            "uptime": round(time.monotonic() - self._began, 1),
            "memory": resident_bytes(),
            "python": ".".join(str(part) for part in sys.version_info[:3]),
        }
        return {
            "agent": agent,
            "engine": self._supervisor.snapshot(),
            "events": self._journal.last(RECENT),
        }

    def events(self, args: Mapping[str, Any]) -> Dict[str, Any]:
        """args: last (how many, default 50)."""
        count = args.get("last", 50)
        if not isinstance(count, int) or isinstance(count, bool):
            raise Problem("wire", f"last: a number is wanted, not {str(count)[:40]!r}")
        return {"events": self._journal.last(count)}


def resident_bytes() -> int:
    """Resident memory of this process; 0 where /proc is not there (proc(5), statm)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as stream:
            return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
