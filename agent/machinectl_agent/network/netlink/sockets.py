"""An rtnetlink socket: requests in batches, answers with a deadline, the kernel's own words in errors."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import threading
from typing import FrozenSet, Iterator, List, Optional, Sequence, Tuple, TypeVar

from machinectl_agent.network.netlink import codecs

Found = TypeVar("Found")

DEADLINE = 10.0
"""Seconds for one answer: the kernel's lock on links can be held for a second where many namespaces end."""

CHUNK = 128
"""Requests in one send: what may be answered to them fits into the receive buffer."""

_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_SO_RCVBUFFORCE = 33
_SIOCGSKNS = 0x894C
_ERROR, _DONE = 2, 3
_INTERRUPTED = 0x10
_HEADER = 16
_TRIES = 10


class Refused(OSError):
    """The kernel refused a request: errno, and its own sentence where it has one."""


class Netlink:
    """One socket in one namespace: that of the thread which makes it, for good. Safe in threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sequence = 0
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        try:
            self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
            self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 20)
            self._socket.bind((0, 0))
            self._socket.settimeout(DEADLINE)
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def namespace(self) -> int:
        """A new descriptor of the socket's namespace; it is there even if no path leads to it any more."""
        return fcntl.ioctl(self._socket.fileno(), _SIOCGSKNS)

    def run(self, *requests: bytearray, ignore: FrozenSet[int] = frozenset()) -> int:
        """All of them, in this order, whatever becomes of one; how many were done. Raises the first `Refused` whose
        errno is not to be ignored."""
        failed = 0
        first: Optional[Refused] = None
        with self._lock:
            for start in range(0, len(requests), CHUNK):
                for error in self._chunk(requests[start : start + CHUNK]):
                    failed += 1
                    if first is None and error.errno not in ignore:
                        first = error
        if first is not None:
            raise first
        return len(requests) - failed

    def get(self, wanted: bytearray, read: codecs.Reader[Found]) -> Optional[Found]:
        """What `read` makes of the one answer. Raises `Refused`."""
        with self._lock:
            sequence = self._send([wanted], 0)
            for _, buffer, offset, _ in self._answers(sequence):
                return read(buffer, offset)
        raise AssertionError("unreachable: the answers end with an answer or an error")

    def dump(self, wanted: bytearray, read: codecs.Reader[Found]) -> List[Found]:
        """What `read` makes of each answer, without None. It can be asked twice for the same table."""
        with self._lock:
            for _ in range(_TRIES):
                found, whole = self._dump_once(wanted, read)
                if whole:
                    return found
        # a table that never holds still: what was seen last is as good as any
        return found

    def _dump_once(self, wanted: bytearray, read: codecs.Reader[Found]) -> Tuple[List[Found], bool]:
        found: List[Found] = []
        whole = True
        sequence = self._send([wanted], codecs.DUMP)
        for kind, buffer, offset, flags in self._answers(sequence):
            whole = whole and not flags & _INTERRUPTED
            if kind == _DONE:
                break
            one = read(buffer, offset)
            if one is not None:
                found.append(one)
        return found, whole

    def _chunk(self, requests: Sequence[bytearray]) -> List[Refused]:
        """Only the last is acknowledged; a refusal is answered without that too."""
        errors = []
        last = self._send(requests, 0, acknowledge=True)
        first = last - len(requests) + 1
        while True:
            for sequence, kind, buffer, offset, _ in self._messages():
                if kind != _ERROR or not first <= sequence <= last:
                    continue
                error = _error(buffer, offset)
                if error is not None:
                    errors.append(error)
                if sequence == last:
                    return errors

    def _send(self, requests: Sequence[bytearray], flags: int, *, acknowledge: bool = False) -> int:
        """The sequence number of the last one."""
        for one in requests:
            self._sequence = self._sequence % 0xFFFFFFFF + 1
            codecs.number(one, self._sequence, flags)
        if acknowledge:
            codecs.number(requests[-1], self._sequence, codecs.ACK)
        self._socket.send(b"".join(requests))
        return self._sequence

    def _answers(self, wanted: int) -> Iterator[Tuple[int, bytes, int, int]]:
        """Type, buffer, offset and flags of each answer to the request `wanted`; the caller knows when it ends."""
        while True:
            for sequence, kind, buffer, offset, flags in self._messages():
                if sequence != wanted:
                    continue  # of a request that was given up
                if kind == _ERROR:
                    raise _error(buffer, offset) or Refused(0, "the kernel answered with nothing")
                yield kind, buffer, offset, flags

    def _messages(self) -> Iterator[Tuple[int, int, bytes, int, int]]:
        """Those of one datagram: sequence number, type, buffer, offset, flags."""
        buffer = self._socket.recv(1 << 16)
        offset = 0
        while offset + _HEADER <= len(buffer):
            length, kind, flags, sequence = struct.unpack_from("IHHI", buffer, offset)
            yield sequence, kind, buffer, offset, flags
            offset += (max(length, _HEADER) + 3) & ~3


def _error(buffer: bytes, offset: int) -> Optional[Refused]:
    """None for an acknowledgement. The kernel's sentence follows as attribute 1 (NLMSGERR_ATTR_MSG)."""
    length, _, flags, _ = struct.unpack_from("IHHI", buffer, offset)
    code = -struct.unpack_from("i", buffer, offset + _HEADER)[0]
    if code == 0:
        return None
    end, place = offset + length, offset + _HEADER + 4 + _HEADER
    while flags & 0x200 and place + 4 <= end:
        size, kind = struct.unpack_from("HH", buffer, place)
        if kind == 1:
            return Refused(code, buffer[place + 4 : place + size].rstrip(b"\0").decode(errors="replace"))
        place += (max(size, 4) + 3) & ~3
    return Refused(code, os.strerror(code))
