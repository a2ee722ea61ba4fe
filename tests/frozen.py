"""Processes that stand still for a while."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def freeze(pid: int, patience: float = 10.0) -> None:
    """SIGSTOP; returns when every thread stands still.

    Each stops by itself (signal(7)), so on a busy machine one of them may go on for a moment after kill(2).

    Raises:
        AssertionError: it still runs after `patience` seconds.
    """
    os.kill(pid, signal.SIGSTOP)
    end = time.monotonic() + patience
    while not all(state_of(one) == "T" for one in Path(f"/proc/{pid}/task").iterdir()):
        assert time.monotonic() < end, f"process {pid} does not stop"
        time.sleep(0.001)


def state_of(task: Path) -> str:
    """The letter of proc(5): R runs, S sleeps, T is stopped; "T" for a thread that has ended meanwhile."""
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "T"
