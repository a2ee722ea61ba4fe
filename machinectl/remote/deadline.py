"""How long a remote step may still take, as one clock for all of its parts."""

from __future__ import annotations

import time


class Deadline:
    """A point in time on the monotonic clock; every part of a step asks it how much is left."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds, never negative; never quite 0 either, which sockets would take for 'do not wait'."""
        return max(self._end - time.monotonic(), 0.001)

    @property
    def expired(self) -> bool:
        return time.monotonic() >= self._end

    def extend(self, seconds: float) -> None:
        """Gives back time that a person spent typing a passphrase."""
        self._end += seconds
