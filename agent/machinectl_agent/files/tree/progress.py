"""How far a tree is, said a few times a second and no oftener."""

from __future__ import annotations

import time
from typing import Any, Mapping, Protocol

from machinectl_agent.files.tree.faults import show

EVERY = 0.2
"""Seconds."""


class Teller(Protocol):
    """What ends need of a session (session.py)."""

    gone: bool
    """Nobody listens any more."""

    def log(self, text: str) -> None: ...

    def emit(self, message: Mapping[str, Any]) -> None: ...


class Pace:
    """The event `at`: which file, how much of it, how many files and bytes."""

    def __init__(self, session: Teller) -> None:
        self._session = session
        self._next = time.monotonic() + EVERY
        self._path = b""
        self._size = self._done = self._files = self._bytes = 0

    def file(self, path: bytes, size: int) -> None:
        self._path, self._size, self._done = path, size, 0
        self._files += 1

    def add(self, size: int) -> None:
        self._done += size
        self._bytes += size
        now = time.monotonic()
        if now >= self._next:
            self._next = now + EVERY
            self._session.emit(
                {
                    "event": "at",
                    "name": show(self._path),
                    "size": self._size,
                    "done": self._done,
                    "files": self._files,
                    "bytes": self._bytes,
                }
            )
