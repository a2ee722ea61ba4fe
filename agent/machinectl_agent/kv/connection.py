"""One HTTP connection to one endpoint: connected, asked and heard within a deadline.

HTTP is spoken by hand as far as it is sent (one packet for each request); http.client reads the answers.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from http.client import HTTPResponse
from typing import Optional, Tuple

from machinectl_agent.kv.endpoint import Endpoint

_PART = 1 << 16


class Connection:
    """A connected socket. `send` and `receive` raise OSError (also SSLError) and HTTPException."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.socket: Optional[socket.socket] = None
        self._closed = False

    def connect(self, context: Optional[ssl.SSLContext], until: float) -> None:
        """`until` on the monotonic clock, over all addresses that the host's name has. Only the look-up of a
        name has no deadline of ours: endpoints should be addresses."""
        found = socket.getaddrinfo(self.endpoint.host, self.endpoint.port, type=socket.SOCK_STREAM)
        for number, (family, kind, protocol, _, address) in enumerate(found):
            share = (until - time.monotonic()) / (len(found) - number)
            try:
                self._connect(socket.socket(family, kind, protocol), address, time.monotonic() + share)
                break
            except OSError:
                if number == len(found) - 1:
                    raise
        if context:
            assert self.socket
            self.socket.settimeout(_left(until))
            self.socket = context.wrap_socket(self.socket, server_hostname=self.endpoint.host)
        if self._closed:
            self.close()
            raise ConnectionAbortedError("closed")

    def _connect(self, made: socket.socket, address: Tuple[object, ...], until: float) -> None:
        self.socket = made  # `abort` finds it while it connects
        try:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # a link that died without a word is found after 6 + 3 · 3 seconds
            made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 6)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 3)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
            made.settimeout(_left(until))
            made.connect(address)
        except OSError:
            made.close()
            raise

    def send(self, path: str, body: bytes, until: float, *, last: bool = False) -> None:
        """A POST. If it raises, the request has not left as a whole: etcd can't have acted on it. `last`: the
        connection ends with the answer."""
        assert self.socket
        host = f"[{self.endpoint.host}]" if ":" in self.endpoint.host else self.endpoint.host
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {host}:{self.endpoint.port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"{'Connection: close' if last else 'Connection: keep-alive'}\r\n\r\n"
        )
        self.socket.settimeout(_left(until))
        self.socket.sendall(head.encode("ascii") + body)

    def receive(self, until: float) -> Tuple[int, bytes, bool]:
        """Status, body, and whether the connection can be used again."""
        assert self.socket
        self.socket.settimeout(_left(until))
        response = HTTPResponse(self.socket, method="POST")
        with response:
            response.begin()
            parts = []
            while True:
                self.socket.settimeout(_left(until))
                part = response.read1(_PART)
                if not part:
                    break
                parts.append(part)
            return response.status, b"".join(parts), not response.will_close

    def is_stale(self) -> bool:
        """An idle connection that can be read has been closed by the other side."""
        if self.socket is None or self.socket.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return bool(poll.poll(0))

    def abort(self) -> None:
        """By another thread: whoever waits on it gets an error at once."""
        self._closed = True
        try:
            if self.socket:
                self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # not connected (any more)

    def close(self) -> None:
        self._closed = True
        if self.socket:
            self.socket.close()


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left
