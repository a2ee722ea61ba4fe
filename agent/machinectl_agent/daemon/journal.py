"""What happened: a line for the journal, and the last ones in memory for whoever asks."""

from __future__ import annotations

import collections
import sys
import threading
import time
from typing import Any, Deque, Dict, List, TextIO

KEPT = 200
"""Events; at about 300 bytes each."""

_LEVELS = {"error": 3, "warning": 4, "notice": 5, "note": 6}
"""Our words → syslog's priorities (sd-daemon(3))."""


class Journal:
    """Safe in threads."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._stream = stream
        self._events: Deque[Dict[str, Any]] = collections.deque(maxlen=KEPT)
        self._writing = threading.Lock()

    def say(self, level: str, text: str) -> None:
        """`level` is error, warning, notice or note. Never raises: journald may be restarting."""
        line = " ".join(text.split())
        with self._writing:
            self._events.append({"time": timestamp(time.time()), "level": level, "text": line})
            try:
                self._stream.write(f"<{_LEVELS[level]}>{line}\n")
                self._stream.flush()
            except (OSError, ValueError):
                pass  # the event is kept in memory

    def last(self, count: int) -> List[Dict[str, Any]]:
        """The newest `count` events, oldest first: time (RFC 3339, UTC), level, text."""
        with self._writing:
            events = list(self._events)
        return events[-count:] if count > 0 else []


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
