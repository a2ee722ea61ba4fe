"""Calls of the v3 JSON gateway over several endpoints: idle connections are kept, and another member is
asked where one does not answer.

Which call may be repeated is the caller's word (`once`). What never left as a whole may always go elsewhere.
"""

from __future__ import annotations

import json
import threading
import time
from http.client import HTTPException
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

from machinectl_agent.kv import faults
from machinectl_agent.kv.connection import Connection, Endpoint
from machinectl_agent.kv.interface import KvError, KvRefused, KvUnavailable
from machinectl_agent.kv.tls import Context, Tls

_IDLE = 4  # connections kept for each endpoint
_PAUSE = 0.1  # seconds between two rounds while an election goes on
_PREFIXES = ("/v3", "/v3beta")  # etcd 3.4 and later; 3.3

_Failed = (OSError, HTTPException)


class Transport:
    """May be used by several threads at once."""

    def __init__(self, endpoints: Sequence[str], tls: Optional[Tls]) -> None:
        """Raises ValueError for what is no endpoint."""
        if not endpoints:
            raise ValueError("no endpoint of etcd")
        self.endpoints = [Endpoint.parse(one, tls=tls is not None) for one in endpoints]
        self._context = Context(tls)
        self._lock = threading.Lock()
        self._first = 0
        self._prefix: Dict[Endpoint, str] = {}
        self._idle: Dict[Endpoint, List[Connection]] = {one: [] for one in self.endpoints}
        self._busy: Set[Connection] = set()
        self._closed = False

    @property
    def first(self) -> Endpoint:
        """The one that answered last, or the next after it has failed."""
        return self.endpoints[self._first]

    def call(
        self, path: str, body: Dict[str, Any], deadline: float, *, once: bool = False, at: str = ""
    ) -> Dict[str, Any]:
        """The answer's JSON object. `once`: not repeated when it may have been done. `at`: only this endpoint."""
        until = time.monotonic() + deadline
        text = json.dumps(body, separators=(",", ":")).encode("ascii")
        found: Dict[Endpoint, KvError] = {}
        while True:
            asked = self._order(at)
            passing = False
            for number, endpoint in enumerate(asked):
                now = time.monotonic()
                share = now + (until - now) / (len(asked) - number)
                try:
                    answer = self._ask(endpoint, path, text, share, until if once else share, once=once)
                    self._prefer(endpoint)
                    return answer
                except (_Election, _NotSent) as error:
                    found[endpoint] = error.fault
                    passing = passing or isinstance(error, _Election)
                    self._avoid(endpoint)
            # an election is over in a second or two; a connection that is refused stays so for longer
            if not passing or until - time.monotonic() <= _PAUSE:
                raise faults.together(list(found.values()))
            time.sleep(_PAUSE)

    def connect(self, endpoint: Endpoint, until: float) -> Connection:
        """A new connection that `close` aborts. Raises KvError. The caller gives it back to `drop`."""
        connection = Connection(endpoint)
        with self._lock:
            if self._closed:
                raise KvUnavailable("this client of etcd has been closed")
            self._busy.add(connection)
        try:
            connection.connect(self._context.current() if endpoint.tls else None, until)
        except (*_Failed, KvError) as error:
            self.drop(connection)
            raise faults.from_exception(error, endpoint.url) from error
        return connection

    def drop(self, connection: Connection) -> None:
        """Closes it."""
        with self._lock:
            self._busy.discard(connection)
        connection.close()

    def path(self, endpoint: Endpoint, path: str) -> str:
        """With the API prefix that this endpoint has."""
        return self._prefix.get(endpoint, _PREFIXES[0]) + path

    def close(self) -> None:
        """Whoever waits for an answer gets KvUnavailable."""
        with self._lock:
            self._closed = True
            busy = list(self._busy)
            idle = [one for pool in self._idle.values() for one in pool]
            for pool in self._idle.values():
                pool.clear()
        for connection in busy:
            connection.abort()
        for connection in idle:
            connection.close()

    def _ask(
        self, endpoint: Endpoint, path: str, text: bytes, connected_by: float, until: float, *, once: bool
    ) -> Dict[str, Any]:
        """One endpoint. Raises _NotSent or _Election where the next one may be asked, else what etcd says."""
        prefix = self._prefix.get(endpoint, _PREFIXES[0])
        status, body = self._exchange(endpoint, prefix + path, text, connected_by, until, once=once)
        if status == 404 and not body.startswith(b"{"):  # nobody has acted on it
            prefix = _PREFIXES[prefix == _PREFIXES[0]]
            status, body = self._exchange(endpoint, prefix + path, text, until, until, once=once)
        try:
            # a call that streams its answer (LeaseKeepAlive) has one object in each line; the first is ours
            answer = json.loads(body.split(b"\n", 1)[0]) if status == 200 else None
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or "error" in answer:
            fault = faults.from_body(status, body, endpoint.url)
            if isinstance(fault, KvUnavailable) and not once:
                raise _Election(fault)
            raise fault
        self._prefix[endpoint] = prefix
        return answer

    def _exchange(
        self, endpoint: Endpoint, path: str, text: bytes, connected_by: float, until: float, *, once: bool
    ) -> Tuple[int, bytes]:
        try:
            connection = self._take(endpoint) or self.connect(endpoint, connected_by)
        except KvError as error:
            raise _NotSent(error) from error
        try:
            try:
                connection.send(path, text, until)
            except _Failed as error:
                raise _NotSent(faults.from_exception(error, endpoint.url)) from error
            try:
                status, body, again = connection.receive(until)
            except (*_Failed, ValueError) as error:
                fault = faults.from_exception(error, endpoint.url)
                if once and not isinstance(fault, KvRefused):
                    self._avoid(endpoint)
                    raise fault from error
                raise _NotSent(fault) from error
        except BaseException:
            self.drop(connection)
            raise
        self._give(connection, again=again)
        return status, body

    def _order(self, at: str) -> List[Endpoint]:
        if at:
            return [one for one in self.endpoints if one.url == at]
        return self.endpoints[self._first :] + self.endpoints[: self._first]

    def _prefer(self, endpoint: Endpoint) -> None:
        self._first = self.endpoints.index(endpoint)

    def _avoid(self, endpoint: Endpoint) -> None:
        """The idle connections are as dead as this one, or will be found out one by one at a deadline each."""
        with self._lock:
            dead, self._idle[endpoint] = self._idle[endpoint], []
            if self.first == endpoint:
                self._first = (self._first + 1) % len(self.endpoints)
        for connection in dead:
            connection.close()

    def _take(self, endpoint: Endpoint) -> Optional[Connection]:
        while True:
            with self._lock:
                if self._closed or not self._idle[endpoint]:
                    return None
                connection = self._idle[endpoint].pop()
                if not connection.is_stale():
                    self._busy.add(connection)
                    return connection
            connection.close()

    def _give(self, connection: Connection, *, again: bool) -> None:
        with self._lock:
            self._busy.discard(connection)
            pool = self._idle[connection.endpoint]
            if again and not self._closed and len(pool) < _IDLE:
                pool.append(connection)
                return
        connection.close()


class _Aside(Exception):
    """The next endpoint may be asked."""

    def __init__(self, fault: KvError) -> None:
        super().__init__(str(fault))
        self.fault = fault


class _NotSent(_Aside):
    """Not done, or harmless to repeat."""


class _Election(_Aside):
    """etcd answers that it has no leader just now, or the like; harmless to repeat."""
