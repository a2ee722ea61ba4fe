"""A stream with an end mark: whoever reads it knows a whole stream from one that broke off.

    frame     4 bytes, big-endian: length of what follows, highest bit: it is compressed (zlib)
    0         the end: all has been written
    ABANDONED the writer failed; there is no more, and what came is not whole

SSH and TLS guard every byte already; these frames add only what they lack. Both sides use this module.
"""

from __future__ import annotations

import io
import struct
import time
import zlib
from typing import Any, Callable, Optional, Protocol

from machinectl_agent.problems import Problem

LARGEST = 1024 * 1024
"""Bytes in one frame. Two of them are what a carry needs of memory."""

_HEAD = struct.Struct(">I")
_COMPRESSED = 0x80000000
_ABANDONED = 0x7FFFFFFF
_SMALL = 128 * 1024
"""Bytes; smaller writes are gathered, larger ones go out as they are, without being copied."""


_MADE_UP = 1.0
"""Seconds of waiting, for the network or for what is read, that a limited rate makes up for; the rest is lost."""


class Transport(Protocol):
    """What frames travel on. Raises `Problem` `stream-broken` where it breaks."""

    def receive_into(self, view: memoryview) -> int:
        """0 at the end of the connection."""

    def send(self, view: memoryview) -> None:
        """All of it."""


class Sink:
    """The producer's end: a file to write to. `finish` is the carry's, not the producer's."""

    def __init__(
        self,
        transport: Transport,
        *,
        compress: bool = False,
        limit_rate: int = 0,
        progress: Optional[Callable[[int], None]] = None,
    ) -> None:
        """`limit_rate`: bytes per second, 0: no limit. `progress`: called with the bytes so far, often."""
        self._transport = transport
        self._compress = compress
        self._limit_rate = min(limit_rate, 1 << 40)
        self._progress = progress
        self._gathered = bytearray()
        self._over = False
        self._began = time.monotonic()
        self.closed = False
        self.bytes = 0

    def write(self, content: bytes) -> int:
        view = memoryview(content).cast("B")
        size = len(view)
        if size < _SMALL:
            self._gathered += view
            if len(self._gathered) >= _SMALL * 2:
                self.flush()
            return size
        self.flush()
        for start in range(0, size, LARGEST):
            self._frame(view[start : start + LARGEST])
        return size

    def flush(self) -> None:
        if self._gathered:
            gathered, self._gathered = self._gathered, bytearray()
            self._frame(memoryview(gathered))

    def close(self) -> None:
        """For whoever closes what they write to: the end mark is not theirs to set."""
        self.flush()

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def finish(self) -> None:
        """The end mark."""
        self.flush()
        self._over = True
        self._transport.send(memoryview(_HEAD.pack(0)))

    def abandon(self) -> None:
        """Tells the reader that there is no more to come."""
        if not self._over:
            self._over = True
            self._transport.send(memoryview(_HEAD.pack(_ABANDONED)))

    def _frame(self, view: memoryview) -> None:
        size = len(view)
        head = size
        if self._compress:
            packed = zlib.compress(view, 1)
            if len(packed) < size:
                view, head = memoryview(packed), len(packed) | _COMPRESSED
        self._transport.send(memoryview(_HEAD.pack(head)))
        self._transport.send(view)
        self.bytes += size
        if self._limit_rate:
            early = self._began + self.bytes / self._limit_rate - time.monotonic()
            if early > 0:
                time.sleep(early)
            elif early < -_MADE_UP:
                self._began -= early + _MADE_UP
        if self._progress:
            self._progress(self.bytes)


class Source(io.RawIOBase):
    """The consumer's end: a file to read from, whose end is the end mark and nothing else.

    Every read raises `Problem` `stream-broken` where the stream broke off before it.
    """

    def __init__(self, transport: Transport, *, progress: Optional[Callable[[int], None]] = None) -> None:
        self._transport = transport
        self._progress = progress
        self._left = 0
        self._unpacked = memoryview(b"")
        self._head = memoryview(bytearray(4))
        self._ended = False
        self.bytes = 0

    def readinto(self, target: Any) -> int:
        """What is there, at least one byte; 0 only at the end."""
        view = memoryview(target).cast("B")
        while not self._left and not self._unpacked and not self._ended:
            self._next_frame()
        if self._ended or not view:
            return 0
        if self._unpacked:
            size = min(len(view), len(self._unpacked))
            view[:size] = self._unpacked[:size]
            self._unpacked = self._unpacked[size:]
        else:
            size = self._receive(view[: min(len(view), self._left)])
            self._left -= size
        self.bytes += size
        if self._progress:
            self._progress(self.bytes)
        return size

    def read(self, size: int = -1) -> bytes:
        """`size` bytes, fewer only at the end; all that is left for -1."""
        if size is None or size < 0:
            parts = []
            while part := self.read(LARGEST):
                parts.append(part)
            return b"".join(parts)
        target = bytearray(size)
        view = memoryview(target)
        have = 0
        while have < size:
            came = self.readinto(view[have:])
            if not came:
                break
            have += came
        return bytes(view[:have])

    def read1(self, size: int = LARGEST) -> bytes:
        """What is there, at most `size` bytes; empty only at the end."""
        target = bytearray(min(size if size >= 0 else LARGEST, LARGEST))
        return bytes(memoryview(target)[: self.readinto(target)])

    def close(self) -> None:
        """For whoever closes what they read from; the carry still looks for the end mark."""

    def readable(self) -> bool:
        return True

    def drain(self) -> None:
        """What a consumer did not want to read, up to the end mark: the producer waits for nobody then."""
        target = bytearray(LARGEST)
        while self.readinto(target):
            pass

    def _next_frame(self) -> None:
        self._fill(self._head)
        (head,) = _HEAD.unpack(self._head)
        if head == 0:
            self._ended = True
        elif head == _ABANDONED:
            raise broken("the other end gave up")
        elif head & _COMPRESSED:
            packed = bytearray(_checked(head & ~_COMPRESSED))
            self._fill(memoryview(packed))
            self._unpacked = memoryview(_unpack(packed))
        else:
            self._left = _checked(head)

    def _fill(self, view: memoryview) -> None:
        have = 0
        while have < len(view):
            have += self._receive(view[have:])

    def _receive(self, view: memoryview) -> int:
        size = self._transport.receive_into(view)
        if not size:
            raise broken("it ended too early")
        return size


def broken(why: str) -> Problem:
    return Problem("stream-broken", "the stream broke off", why=why)


def _checked(size: int) -> int:
    if size > LARGEST:
        raise broken("what came is no frame")
    return size


def _unpack(packed: bytearray) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(packed, LARGEST)
    except zlib.error as error:
        raise broken(str(error)) from error
    if not unpacker.eof or unpacker.unconsumed_tail or not content:
        raise broken("what came is no frame")
    return content
