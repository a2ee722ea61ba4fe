"""What a process remembers of its own writes and of what cannot change.

It only spares round trips: every transaction compares it with etcd, and what is wrong is read anew. A restarted
agent begins with nothing.
"""

from __future__ import annotations

import threading
from typing import Callable, Dict, Set

from machinectl_agent.network.records import NetworkRecord
from machinectl_agent.network.registry.blocks import Block
from machinectl_agent.network.registry.stock import Stock

LATE = 60.0
"""Seconds in which dockerd's ReleaseAddress for a deleted endpoint is expected."""

DEPARTED = 3600.0
"""Seconds that deleted endpoints are remembered for; a collect that began before is long over."""


class Memory:
    """Safe in threads. Keys are keys in etcd."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.addresses: Dict[str, bytes] = {}
        """Our addresses as we wrote them."""
        self.endpoints: Dict[str, bytes] = {}
        """Our endpoints as we wrote them."""
        self.pools: Dict[str, bytes] = {}
        """Pools as they were read or written last."""
        self.networks: Dict[str, NetworkRecord] = {}
        """By id; of these only the pools, which never change, are relied on."""
        self.doubtful: Set[str] = set()
        """Tokens of addresses that nobody was given, but that etcd may have or get."""
        self._freed: Dict[str, float] = {}
        self._departed: Dict[str, float] = {}
        self._stocks: Dict[str, Stock] = {}
        self._lock = threading.Lock()

    def stock(self, block: Block) -> Stock:
        """What is known to be taken in a subnet."""
        with self._lock:
            name = f"{block.subnet} {block.range}"
            if name not in self._stocks:
                self._stocks[name] = Stock(block, self.clock)
            return self._stocks[name]

    def forget_stock(self, subnet: str) -> None:
        """The pool is gone; another one of this subnet begins anew."""
        with self._lock:
            for name in [one for one in self._stocks if one.split(" ")[0] == subnet]:
                del self._stocks[name]

    def note_released(self, subnet: str, ip: str) -> None:
        """We gave an address back."""
        with self._lock:
            for name, stock in self._stocks.items():
                if name.split(" ")[0] == subnet:
                    stock.release(ip)

    def note_freed(self, address_key: str) -> None:
        """Freed together with its endpoint: dockerd's own release of it is still to come."""
        with self._lock:
            _prune(self._freed, self.clock() - LATE)
            self._freed[address_key] = self.clock()

    def was_freed(self, address_key: str) -> bool:
        """Once: the release that comes now is the expected one, and must not hit the address's next user."""
        with self._lock:
            _prune(self._freed, self.clock() - LATE)
            return self._freed.pop(address_key, None) is not None

    def note_departed(self, endpoint: str) -> None:
        """Docker never uses an endpoint's id again: nothing may put it back."""
        with self._lock:
            _prune(self._departed, self.clock() - DEPARTED)
            self._departed[endpoint] = self.clock()

    def has_departed(self, endpoint: str) -> bool:
        with self._lock:
            return endpoint in self._departed


def _prune(times: Dict[str, float], before: float) -> None:
    # in order of time: the first that is young enough ends it
    for key in list(times):
        if times[key] >= before:
            break
        del times[key]
