"""Clients that come by TCP: a thread each, for a short time, and few of them."""

from __future__ import annotations

import socket
import struct
import threading
import time
from typing import Callable, Dict, Hashable, Optional

from machinectl_agent.network.dns.forward import read_message
from machinectl_agent.network.dns.limits import Places

MOST, EACH = 32, 8
"""Connections in all, and of one client."""
IDLE = 5.0
"""Seconds for a message to come whole: Docker's resolver sends one and closes (RFC 7766, 6.2.3)."""
QUESTIONS = 100
"""On one connection; then the client opens another, and others get their turn."""
LONGEST = 4096
"""Bytes of a question: a name has 255, and options are small."""

Reply = Callable[[bytes], Optional[bytes]]


class Conversations:
    """Safe in threads."""

    def __init__(self) -> None:
        self._places = Places(MOST, EACH)
        self._lock = threading.Lock()
        self._open: Dict[socket.socket, Optional[str]] = {}

    def start(self, one: socket.socket, network: Optional[str], client: Hashable, reply: Reply) -> None:
        """`reply`: question → answer, None to end. Too many connections are closed at once."""
        if not self._places.take(client):
            one.close()
            return
        with self._lock:
            self._open[one] = network

        def run() -> None:
            try:
                _converse(one, reply)
            finally:
                with self._lock:
                    self._open.pop(one, None)
                    one.close()
                self._places.give(client)

        threading.Thread(target=run, name="dns-tcp", daemon=True).start()

    def end(self, network: Optional[str]) -> None:
        """An open connection would keep the network's namespace alive."""
        with self._lock:
            for one, of in self._open.items():
                if of == network:
                    _shut(one)

    def end_all(self) -> None:
        with self._lock:
            for one in self._open:
                _shut(one)


def _converse(one: socket.socket, reply: Reply) -> None:
    try:
        for _ in range(QUESTIONS):
            content = reply(read_message(one, time.monotonic() + IDLE, LONGEST))
            if content is None:
                return
            one.settimeout(IDLE)
            one.sendall(struct.pack("!H", len(content)) + content)
    except OSError:
        return


def _shut(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the client was faster
