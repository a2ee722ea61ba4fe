"""TLS by way of memory: many records in one call of the kernel.

ssl's own sockets write each record of 16 KiB by a call of its own, which goes through bridge and firewall alone, and
read it by two. For a gigabyte that is 0.6 s of processor time.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from typing import Any, Optional

_READ = 256 * 1024
_WRITE = 128 * 1024
"""Bytes in one call: still in the processor's cache when they are encrypted."""


class TlsPeer:
    """One thread at a time, but for `shut`. Raises `OSError` and `ValueError`, as ssl does."""

    def __init__(
        self, raw: socket.socket, context: ssl.SSLContext, *, server_side: bool, seconds: float
    ) -> None:
        """Shakes hands within `seconds`; the socket's timeout is what is left of them then."""
        self._raw = raw
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=server_side)
        self._read: Any = self._tls.read  # which fills any buffer
        self._buffer = memoryview(bytearray(_READ))
        self._shake_hands(time.monotonic() + seconds)

    def certificate(self) -> Optional[bytes]:
        """The peer's, DER."""
        return self._tls.getpeercert(binary_form=True)

    def version(self) -> Optional[str]:
        return self._tls.version()

    def endless(self) -> socket.socket:
        """Without a timeout from now on; the socket, for its options."""
        self._raw.settimeout(None)
        return self._raw

    def send(self, view: memoryview) -> None:
        """All of it."""
        while view:
            view = view[self._tls.write(view[:_WRITE]) :]
            self._raw.sendall(self._out.read())

    def receive_into(self, view: memoryview) -> int:
        """What is there, waiting for the first byte; 0 at the end of the connection."""
        have = 0
        while True:
            try:
                while have < len(view):
                    came = self._read(len(view) - have, view[have:])
                    if not came:
                        return have  # the peer has said that it says no more
                    have += came
            except ssl.SSLWantReadError:
                pass
            if have or not view or not self._take_in():
                return have

    def shut(self, how: int) -> None:
        """From any thread."""
        self._raw.shutdown(how)

    def wait_for_end(self, seconds: float) -> None:
        """Until the other end has closed it."""
        self._raw.settimeout(seconds)
        self._raw.recv(1)

    def close(self) -> None:
        self._raw.close()

    def _shake_hands(self, until: float) -> None:
        while True:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self._raw.settimeout(left)
            try:
                self._tls.do_handshake()
                self._give_out()
                return
            except ssl.SSLWantReadError:
                self._give_out()
                if not self._take_in():
                    raise ssl.SSLEOFError("it has closed the connection") from None
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    self._give_out()  # why
                raise

    def _take_in(self) -> bool:
        """False at the end of the connection."""
        self._give_out()  # what TLS itself has to answer
        size = self._raw.recv_into(self._buffer)
        self._in.write(self._buffer[:size])
        return size > 0

    def _give_out(self) -> None:
        if self._out.pending:
            self._raw.sendall(self._out.read())
