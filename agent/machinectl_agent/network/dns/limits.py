"""No client, and not all of them together, may take what the others need."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Callable, Dict, Hashable


class Rate:
    """Questions of one client in a second. For one thread."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._second = -1
        self._counts: Dict[Hashable, int] = {}

    def allows(self, client: Hashable) -> bool:
        second = int(self._clock())
        if second != self._second:
            # forgets everybody, so that made-up sources never fill the memory
            self._second, self._counts = second, {}
        count = self._counts.get(client, 0) + 1
        self._counts[client] = count
        return count <= self._most


class Places:
    """What is under way at one time. Safe in threads."""

    def __init__(self, most: int, each: int) -> None:
        self._most = most
        self._each = each
        self._lock = threading.Lock()
        self._taken: Counter[Hashable] = Counter()
        self._all = 0

    def take(self, client: Hashable) -> bool:
        """Whether there was one left; then `give` it back."""
        with self._lock:
            if self._all >= self._most or self._taken[client] >= self._each:
                return False
            self._all += 1
            self._taken[client] += 1
            return True

    def give(self, client: Hashable) -> None:
        with self._lock:
            self._all -= 1
            self._taken[client] -= 1
            if not self._taken[client]:
                del self._taken[client]

    def __len__(self) -> int:
        with self._lock:
            return self._all
