"""Containers that a copy of a volume has paused or stopped, and whose keeper is dead, go on (volumes/record.py)."""

from __future__ import annotations

import os
import select

from machinectl_agent.daemon.journal import Journal

FOLDER = "/var/lib/machinectl/holds"
"""volumes/record.py's; nothing of that is loaded before there is something to do."""

PAUSE = 5.0
"""Seconds between two looks: one readdir(2)."""


def sweep_until(ending: int, journal: Journal) -> None:
    """A thread, until the descriptor `ending` becomes readable."""
    poll = select.poll()
    poll.register(ending, select.POLLIN)
    while True:
        if _records():
            from machinectl_agent.volumes.undo import sweep  # noqa: PLC0415 - seldom

            try:
                sweep(lambda text: journal.say("warning", text))
            except OSError as error:
                journal.say("error", f"{FOLDER}: {error.strerror}; looking again in {PAUSE:g} s")
        if poll.poll(PAUSE * 1000):
            return


def _records() -> bool:
    try:
        return any(name.endswith(".json") for name in os.listdir(FOLDER))  # noqa: PTH208 - no pathlib here
    except OSError:
        return False
