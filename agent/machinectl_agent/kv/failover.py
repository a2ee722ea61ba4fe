"""Which member is asked, and which next where one does not answer. No I/O here but a pause.

Which call may be repeated is the caller's word (`once`). What never left as a whole may always go elsewhere.
"""

from __future__ import annotations

import threading
import time
from typing import Callable, Dict, List, Sequence, TypeVar

from machinectl_agent.kv import faults
from machinectl_agent.kv.endpoint import Endpoint
from machinectl_agent.kv.interface import KvError, KvUnavailable

Answer = TypeVar("Answer")

_PAUSE = 0.1  # seconds between two rounds while an election goes on


class Aside(Exception):
    """The next endpoint may be asked: not done, or harmless to repeat."""

    passing = False
    """It will be well again in a moment: all endpoints may be asked once more."""

    def __init__(self, fault: KvError) -> None:
        super().__init__(str(fault))
        self.fault = fault


class Election(Aside):
    """etcd answers that it has no leader just now, or the like; harmless to repeat."""

    passing = True


class Failover:
    """May be used by several threads at once."""

    def __init__(self, endpoints: Sequence[str], *, tls: bool) -> None:
        """URLs. Raises ValueError for what is none."""
        self._tls = tls
        self._lock = threading.Lock()
        self._first = 0
        self.endpoints: List[Endpoint] = []
        self.use(endpoints)

    def use(self, endpoints: Sequence[str]) -> None:
        """Others from now on. The one that answered last stays the first to be asked where it is among them."""
        if not endpoints:
            raise ValueError("no endpoint of etcd")
        parsed = [Endpoint.parse(one, tls=self._tls) for one in endpoints]
        with self._lock:
            last = self.endpoints[self._first] if self.endpoints else None
            self.endpoints = parsed
            self._first = parsed.index(last) if last in parsed else 0

    @property
    def first(self) -> Endpoint:
        """The one that answered last, or the next after it has failed."""
        with self._lock:
            return self.endpoints[self._first]

    def run(
        self,
        ask: Callable[[Endpoint, float, float], Answer],
        deadline: float,
        *,
        once: bool = False,
        at: str = "",
    ) -> Answer:
        """`ask(endpoint, connected_by, until)` (monotonic clock) of one endpoint after the other, until one does
        not raise Aside. With `once` each has a share of the time to connect, else to answer. `at`: only this
        URL. Raises KvError."""
        until = time.monotonic() + deadline
        found: Dict[str, KvError] = {}
        while True:
            asked = self._order(at)
            passing = False
            for number, endpoint in enumerate(asked):
                now = time.monotonic()
                share = now + (until - now) / (len(asked) - number)
                try:
                    answer = ask(endpoint, share, until if once else share)
                except Aside as error:
                    found[endpoint.url] = error.fault
                    passing = passing or error.passing
                    self.avoid(endpoint)
                    continue
                except KvUnavailable:
                    self.avoid(endpoint)
                    raise
                with self._lock:
                    if endpoint in self.endpoints:
                        self._first = self.endpoints.index(endpoint)
                return answer
            # an election is over in a second or two; a connection that is refused stays so for longer
            if not passing or until - time.monotonic() <= _PAUSE:
                raise faults.together([found[one] for one in sorted(found)])
            time.sleep(_PAUSE)

    def avoid(self, endpoint: Endpoint) -> None:
        """Another one is asked first from now on."""
        with self._lock:
            if self.endpoints[self._first] == endpoint:
                self._first = (self._first + 1) % len(self.endpoints)

    def _order(self, at: str) -> List[Endpoint]:
        with self._lock:
            endpoints, first = self.endpoints, self._first
        if not at:
            return endpoints[first:] + endpoints[:first]
        # a member that is not (yet) in the list may be asked, too
        known = [one for one in endpoints if one.url == at.rstrip("/")]
        return known or [Endpoint.parse(at, tls=endpoints[0].tls)]
