"""What one process believes to be taken in a subnet, and which address it tries next. No I/O here.

Addresses go upwards and around: one that was released is not given out again at once, when its peers may still
have it in a cache. The belief may be old: etcd refuses what is taken, and then it is read anew.
"""

from __future__ import annotations

import random
import threading
from typing import Callable, Dict, Iterable, Optional, Set

from machinectl_agent.network.registry.blocks import Block

COOLING = 60.0
"""Seconds that an address which we released is left alone while others are free."""

_WIDEST = 64
"""After several conflicts, one of so many next free ones is tried, so that machines part ways."""


class Stock:
    """Safe in threads."""

    def __init__(self, block: Block, clock: Callable[[], float]) -> None:
        self._block = block
        self._clock = clock
        self._lock = threading.Lock()
        self._used: Set[int] = set()
        self._held: Set[int] = set()
        """Picked, and etcd has not answered yet."""
        self._cooling: Dict[int, float] = {}
        self._next = block.first

    def pick(self, conflicts: int = 0) -> Optional[int]:
        """Held until `settle`. None: all are taken, as far as is known."""
        with self._lock:
            self._warm_up()
            # the first conflict only says that we knew too little
            width = min(1 << conflicts, _WIDEST) if conflicts > 1 else 1
            found = self._upwards(random.randrange(width))  # noqa: S311 - no secret
            if found is None:
                # of those that cool down, the one that was released first
                found = next(iter(self._cooling), None)
            if found is None:
                return None
            self._cooling.pop(found, None)
            self._held.add(found)
            self._next = found + 1
            return found

    def settle(self, number: int, *, used: bool) -> None:
        """The outcome of a pick."""
        with self._lock:
            self._held.discard(number)
            if used:
                self._used.add(number)

    def release(self, ip: str) -> None:
        """We gave it back."""
        number = self._block.number(ip)
        if not self._block.first <= number <= self._block.last:
            return
        with self._lock:
            self._used.discard(number)
            self._cooling.pop(number, None)
            self._cooling[number] = self._clock()

    def refresh(self, used: Iterable[int]) -> None:
        """What etcd says."""
        with self._lock:
            self._used = set(used)
            for number in self._used:
                self._cooling.pop(number, None)

    def _warm_up(self) -> None:
        for number in list(self._cooling):
            if self._clock() - self._cooling[number] < COOLING:
                break
            del self._cooling[number]

    def _upwards(self, skip: int) -> Optional[int]:
        """The free one after `skip` other free ones, else the last that was met."""
        begin = self._next if self._block.first <= self._next <= self._block.last else self._block.first
        found: Optional[int] = None
        number = begin
        for _ in range(
            min(self._block.count, len(self._used) + len(self._held) + len(self._cooling) + skip + 1)
        ):
            if number not in self._used and number not in self._held and number not in self._cooling:
                found = number
                if skip == 0:
                    break
                skip -= 1
            number = number + 1 if number < self._block.last else self._block.first
        return found
