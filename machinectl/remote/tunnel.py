"""A local port whose connections come out of a machine: for what only that machine, or its network, can reach."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

import paramiko

from machinectl.remote.connection import Connection

_CHUNK = 65536
OPEN_DEADLINE = 10.0
"""Seconds for the machine to reach the other end."""


class Tunnel:
    """Each connection to 127.0.0.1:`port` is one from the machine to `host`:`target`. fabric's own forwarder returns
    before it listens, and dies of a client's reset. Takes the connection over: `close` ends both."""

    def __init__(self, connection: Connection, host: str, target: int) -> None:
        self._connection = connection
        self._target = (host, target)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, name=f"tunnel to {host}", daemon=True).start()

    @property
    def alive(self) -> bool:
        transport = self._connection.fabric.transport
        return bool(transport and transport.is_active())

    def close(self) -> None:
        self._listener.close()
        self._connection.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client:
            try:
                channel = self._connection.fabric.transport.open_channel(
                    "direct-tcpip", dest_addr=self._target, src_addr=("127.0.0.1", 0), timeout=OPEN_DEADLINE
                )
            except (paramiko.SSHException, OSError, EOFError):
                return  # the client sees its connection end
            with channel:
                back = threading.Thread(target=_pump, args=(channel, client, _end_socket), daemon=True)
                back.start()
                _pump(client, channel, _end_channel)
                back.join()


def _pump(source: Any, target: Any, end: Callable[[Any], None]) -> None:
    with contextlib.suppress(OSError, EOFError):
        while part := source.recv(_CHUNK):
            target.sendall(part)
    with contextlib.suppress(OSError, EOFError):
        end(target)


def _end_socket(target: socket.socket) -> None:
    target.shutdown(socket.SHUT_WR)


def _end_channel(target: Any) -> None:
    target.shutdown_write()
