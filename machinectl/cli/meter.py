"""One line on a terminal that says how much has gone by, and how fast. Nothing elsewhere."""

from __future__ import annotations

import sys
import time

from machinectl.sizes import human

_PAUSE = 0.2
"""Seconds between two looks at the clock that are shown."""


class Meter:
    """`with Meter(quiet=…) as meter:`, then it is called with the bytes so far."""

    def __init__(self, *, quiet: bool) -> None:
        self._shown = not quiet and sys.stderr.isatty()
        self._began = self._last = time.monotonic()

    def __call__(self, size: int) -> None:
        now = time.monotonic()
        if self._shown and now - self._last >= _PAUSE:
            self._last = now
            speed = human(size / max(now - self._began, 0.001))
            print(f"\r\x1b[K{human(size)}, {speed}/s", end="", file=sys.stderr, flush=True)

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
