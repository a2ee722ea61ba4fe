"""Wakes a thread that waits on sockets."""

from __future__ import annotations

import select
import socket
import threading
from typing import Optional, Union

Readable = Union[int, socket.socket]


class Wake:
    """`set` by any thread; one thread waits. Level-triggered: a `set` before the wait counts."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._theirs.setblocking(False)
        self._lock = threading.Lock()

    @property
    def readable(self) -> socket.socket:
        """For the `wait` of another one."""
        return self._ours

    def set(self) -> None:
        with self._lock:
            try:
                self._theirs.send(b"x")
            except OSError:
                pass  # full: it is set already; or closed

    def clear(self) -> None:
        try:
            while self._ours.recv(4096):
                pass
        except OSError:
            pass  # empty, or closed

    def wait(self, seconds: Optional[float], other: Optional[Readable] = None) -> None:
        """Until `set`, until `other` can be read, or for `seconds` (None: for ever)."""
        poll = select.poll()
        poll.register(self._ours, select.POLLIN)
        if other is not None:
            poll.register(other, select.POLLIN)
        poll.poll(None if seconds is None else max(0.0, seconds) * 1000)

    def close(self) -> None:
        with self._lock:
            self._ours.close()
            self._theirs.close()
