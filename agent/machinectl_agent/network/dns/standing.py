"""Which upstream is asked first."""

from __future__ import annotations

import threading
import time
from typing import Callable, Dict, List, Sequence

PENALTY = 10.0
"""Seconds that a silent server is asked last: not every question must wait for it anew."""
TRIES = 3
"""Servers asked for one question, as resolv.conf(5) has it at most (MAXNS)."""


class Standing:
    """Safe in threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._until: Dict[str, float] = {}

    def order(self, servers: Sequence[str]) -> List[str]:
        """In the order given, but those that were silent lately last."""
        now = self._clock()
        with self._lock:
            self._until = {one: until for one, until in self._until.items() if until > now}
            return sorted(servers, key=lambda one: one in self._until)[:TRIES]

    def failed(self, server: str) -> None:
        with self._lock:
            self._until[server] = self._clock() + PENALTY

    def answered(self, server: str) -> None:
        with self._lock:
            self._until.pop(server, None)
