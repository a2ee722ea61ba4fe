"""gRPC calls over several endpoints: one client of the etcd3 package for each, thrown away after an error.

A channel that has lost its server waits longer and longer before it connects again, up to minutes; a new one
does so at once, and reads renewed certificates.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from machinectl.kv.package import etcd3, rpc
from machinectl_agent.kv import faults
from machinectl_agent.kv.endpoint import Endpoint
from machinectl_agent.kv.failover import Aside, Election, Failover
from machinectl_agent.kv.interface import KvError, KvRefused, KvUnavailable
from machinectl_agent.kv.tls import Tls

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    # a new channel must not take over the patience of the one before it
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
)
_TLS_WORDS = ("ssl", "tls", "handshake", "certificate")
_UNSENT = "failed to connect to all addresses"
"""gRPC's words when there never was a connection: etcd can't have seen the request."""


class Channels:
    """May be used by several threads at once."""

    def __init__(self, endpoints: Sequence[str], tls: Tls | None) -> None:
        """Raises ValueError for what is no endpoint."""
        self._failover = Failover(endpoints, tls=tls is not None)
        self._tls = tls or Tls("")
        self._lock = threading.Lock()
        self._clients: dict[Endpoint, Any] = {}
        self._proven: set[Endpoint] = set()
        self._closed = False

    @property
    def first(self) -> Endpoint:
        """The one that answered last, or the next after it has failed."""
        return self._failover.first

    def call(
        self, stub: str, method: str, request: Any, deadline: float, *, once: bool = False, at: str = ""
    ) -> Any:
        """The answer's message. `stub` is an attribute of etcd3's client. `once`: not repeated when it may have
        been done. `at`: only this URL. Raises KvError."""

        def send(client: Any, seconds: float) -> Any:
            return getattr(getattr(client, stub), method)(request, timeout=seconds)

        return self.run(send, deadline, once=once, at=at)

    def run(
        self, send: Callable[[Any, float], Any], deadline: float, *, once: bool = False, at: str = ""
    ) -> Any:
        """The same with a function of a client and the seconds that it has."""

        def ask(endpoint: Endpoint, connected_by: float, until: float) -> Any:
            if once and endpoint not in self._proven:
                # a connection that does not come about is found out before anything is written
                self._send(endpoint, _prove, connected_by, once=False)
            return self._send(endpoint, send, until, once=once)

        return self._failover.run(ask, deadline, once=once, at=at)

    def client(self, endpoint: Endpoint) -> Any:
        """etcd3's client of one endpoint. Raises KvError."""
        with self._lock:
            if self._closed:
                raise KvUnavailable("this client of etcd has been closed")
            client = self._clients.get(endpoint)
            if client is None:
                client = self._clients[endpoint] = self._make(endpoint)
            return client

    def drop(self, endpoint: Endpoint) -> None:
        """Closes the client of an endpoint; the next call makes a new one."""
        with self._lock:
            self._proven.discard(endpoint)
            client = self._clients.pop(endpoint, None)
        if client is not None:
            client.close()

    def close(self) -> None:
        """Whoever waits for an answer gets KvUnavailable."""
        with self._lock:
            self._closed = True
            clients = list(self._clients.values())
            self._clients.clear()
        for client in clients:
            client.close()

    def fault(self, error: Any, endpoint: Endpoint) -> KvError:
        """Our exception for gRPC's."""
        if isinstance(error, KvError):
            return error
        if not hasattr(error, "code"):  # ValueError: the channel was closed by `close`
            return KvUnavailable(f"{endpoint.url}: {error}")
        details = str(error.details() or error.code().name.lower().replace("_", " "))
        if details.startswith(_UNSENT) and any(word in details.lower() for word in _TLS_WORDS):
            return KvRefused(f"{endpoint.url}: {details}")
        return faults.from_code(error.code().value[0], details, endpoint.url)

    def _send(
        self, endpoint: Endpoint, send: Callable[[Any, float], Any], until: float, *, once: bool
    ) -> Any:
        import grpc  # noqa: PLC0415 - comes with etcd3, as late

        seconds = until - time.monotonic()
        try:
            if seconds <= 0:
                raise Aside(KvUnavailable(f"{endpoint.url}: no answer in time"))
            answer = send(self.client(endpoint), seconds)
        except (grpc.RpcError, ValueError, KvError) as error:
            fault = self.fault(error, endpoint)
            details = str(error.details()) if isinstance(error, grpc.RpcError) else ""
            if isinstance(fault, KvUnavailable) and details.startswith("etcdserver:"):
                raise (fault if once else Election(fault)) from error
            if isinstance(fault, KvUnavailable) or details.startswith(_UNSENT):
                self.drop(endpoint)
                raise (fault if once and not details.startswith(_UNSENT) else Aside(fault)) from error
            raise fault from error
        self._proven.add(endpoint)
        return answer

    def _make(self, endpoint: Endpoint) -> Any:
        host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        files: dict[str, str | None] = {}
        if endpoint.tls:
            files["ca_cert"] = self._tls.ca or ssl.get_default_verify_paths().cafile
            if self._tls.cert:
                files["cert_cert"], files["cert_key"] = self._tls.cert, self._tls.key or self._tls.cert
        try:
            return etcd3().client(host, endpoint.port, grpc_options=_OPTIONS, **files)
        except OSError as error:
            raise KvRefused(f"the certificates of etcd's client can't be used: {error}") from error


def _prove(client: Any, seconds: float) -> None:
    client.maintenancestub.Status(rpc().StatusRequest(), timeout=seconds)
