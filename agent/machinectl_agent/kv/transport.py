"""Calls of the v3 JSON gateway over several endpoints. Connections are kept for the next call."""

from __future__ import annotations

import json
import threading
from http.client import HTTPException
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

from machinectl_agent.kv import faults
from machinectl_agent.kv.connection import Connection
from machinectl_agent.kv.endpoint import Endpoint
from machinectl_agent.kv.failover import Aside, Election, Failover
from machinectl_agent.kv.interface import KvError, KvRefused, KvUnavailable
from machinectl_agent.kv.tls import Context, Tls

_IDLE = 4  # connections kept for each endpoint
_PREFIXES = ("/v3", "/v3beta")  # etcd 3.4 and later; 3.3

_Failed = (OSError, HTTPException)


class Transport:
    """May be used by several threads at once."""

    def __init__(self, endpoints: Sequence[str], tls: Optional[Tls]) -> None:
        """Raises ValueError for what is no endpoint."""
        self._failover = Failover(endpoints, tls=tls is not None)
        self._context = Context(tls)
        self._lock = threading.Lock()
        self._prefix: Dict[Endpoint, str] = {}
        self._idle: Dict[Endpoint, List[Connection]] = {}
        self._busy: Set[Connection] = set()
        self._closed = False

    @property
    def first(self) -> Endpoint:
        """The one that answered last, or the next after it has failed."""
        return self._failover.first

    def use(self, endpoints: Sequence[str]) -> None:
        """Others from now on; what is under way goes on. Raises ValueError."""
        self._failover.use(endpoints)
        kept = set(self._failover.endpoints)
        with self._lock:
            dropped = [pool for endpoint, pool in self._idle.items() if endpoint not in kept]
            self._idle = {endpoint: pool for endpoint, pool in self._idle.items() if endpoint in kept}
        for connection in (one for pool in dropped for one in pool):
            connection.close()

    def call(
        self, path: str, body: Dict[str, Any], deadline: float, *, once: bool = False, at: str = ""
    ) -> Dict[str, Any]:
        """The answer's JSON object. `once`: not repeated when it may have been done. `at`: only this URL."""
        text = json.dumps(body, separators=(",", ":")).encode("ascii")

        def ask(endpoint: Endpoint, connected_by: float, until: float) -> Dict[str, Any]:
            try:
                return self._ask(endpoint, path, text, connected_by, until, once=once)
            except (Aside, KvUnavailable):
                self._forget_idle(endpoint)
                raise

        return self._failover.run(ask, deadline, once=once, at=at)

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
        """One endpoint. Raises Aside or Election where the next one may be asked, else what etcd says."""
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
                raise Election(fault)
            raise fault
        self._prefix[endpoint] = prefix
        return answer

    def _exchange(
        self, endpoint: Endpoint, path: str, text: bytes, connected_by: float, until: float, *, once: bool
    ) -> Tuple[int, bytes]:
        try:
            connection = self._take(endpoint) or self.connect(endpoint, connected_by)
        except KvError as error:
            raise Aside(error) from error
        try:
            try:
                connection.send(path, text, until)
            except _Failed as error:
                raise Aside(faults.from_exception(error, endpoint.url)) from error
            try:
                status, body, again = connection.receive(until)
            except (*_Failed, ValueError) as error:
                fault = faults.from_exception(error, endpoint.url)
                if once and not isinstance(fault, KvRefused):
                    raise fault from error
                raise Aside(fault) from error
        except BaseException:
            self.drop(connection)
            raise
        self._give(connection, again=again)
        return status, body

    def _forget_idle(self, endpoint: Endpoint) -> None:
        """They are as dead as the one that failed, or will be found out one by one at a deadline each."""
        with self._lock:
            dead = self._idle.pop(endpoint, [])
        for connection in dead:
            connection.close()

    def _take(self, endpoint: Endpoint) -> Optional[Connection]:
        while True:
            with self._lock:
                pool = self._idle.get(endpoint)
                if self._closed or not pool:
                    return None
                connection = pool.pop()
                if not connection.is_stale():
                    self._busy.add(connection)
                    return connection
            connection.close()

    def _give(self, connection: Connection, *, again: bool) -> None:
        with self._lock:
            self._busy.discard(connection)
            pool = self._idle.setdefault(connection.endpoint, [])
            if again and not self._closed and len(pool) < _IDLE:
                pool.append(connection)
                return
        connection.close()
