"""HTTP over a unix socket. A module of its own: http.client costs 10 ms, which an apply with nothing to do spares."""

from __future__ import annotations

import socket
from http.client import HTTPConnection, HTTPException
from typing import Optional

__all__ = ["HTTPException", "UnixConnection"]


class UnixConnection(HTTPConnection):
    """`deadline` (seconds) is for each wait, None waits for ever."""

    def __init__(self, path: str, deadline: Optional[float]) -> None:
        super().__init__("docker", timeout=deadline)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
