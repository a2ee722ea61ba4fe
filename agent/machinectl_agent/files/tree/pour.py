"""A file's content into a device or FIFO that is there: nothing to rename, and nothing to take back."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import select
import stat
import time
from typing import Any, BinaryIO, Optional

from machinectl_agent.files.framing import broken
from machinectl_agent.files.tree import records
from machinectl_agent.files.tree.faults import problem_of, show
from machinectl_agent.files.tree.progress import Pace, Teller
from machinectl_agent.files.tree.records import Record
from machinectl_agent.files.tree.target import Place
from machinectl_agent.problems import Problem

CHUNK = 1024 * 1024
_LOOK = 1.0
"""Seconds between two looks whether anybody still wants it, while nobody reads from the FIFO."""

PATIENCE = 600.0
"""Seconds for who reads from a FIFO to take anything: a controller that is gone is not seen behind all that has come
already."""

_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY


def pour(source: BinaryIO, place: Place, record: Record, session: Teller) -> None:
    """Raises `Problem`. What was written by then stays."""
    if record.kind not in (records.FILE, records.SPARSE):
        raise Problem("not-a-file", f"{show(place.path)} is a device or FIFO, and what was copied is no file")
    try:
        _Pour(source, place, record, session).run()
    except BlockingIOError as error:
        raise Problem("no-room", f"{show(place.path)} takes no more") from error
    except OSError as error:
        raise problem_of(error, place.path) from error


class _Pour:
    def __init__(self, source: BinaryIO, place: Place, record: Record, session: Teller) -> None:
        self._source = source
        self._place = place
        self._record = record
        self._session = session
        self._pace = Pace(session)
        self._digest: Optional[Any] = hashlib.sha256() if record.flags & records.VERIFIED else None

    def run(self) -> None:
        self._descriptor = self._open()
        try:
            mode = os.fstat(self._descriptor).st_mode
            self._is_block = stat.S_ISBLK(mode)
            self._waits = stat.S_ISFIFO(mode)
            if not self._waits:
                os.set_blocking(self._descriptor, True)
            self._check()
            self._pace.file(os.path.basename(self._place.path), self._record.size)
            if self._record.kind == records.SPARSE:
                self._pieces()
            else:
                self._piece(self._record.size)
            if self._is_block:
                os.fsync(self._descriptor)  # what could not be written is known then
        finally:
            os.close(self._descriptor)
        if self._digest:
            self._verify(self._digest.digest())

    def _open(self) -> int:
        """At once: a FIFO's other end may never come."""
        try:
            return os.open(self._place.name, os.O_WRONLY | os.O_NONBLOCK | _FLAGS, dir_fd=self._place.parent)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            raise Problem(
                "no-reader",
                f"{show(self._place.path)}: nobody reads from it",
                hint="start what reads from it, then copy",
            ) from error

    def _check(self) -> None:
        """Before a byte is written."""
        path = show(self._place.path)
        if self._digest and not self._is_block:
            raise Problem(
                "checksum",
                f"{path}: what is written there can't be read again",
                hint="copy to it without --checksum",
            )
        if self._is_block:
            size = os.lseek(self._descriptor, 0, os.SEEK_END)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            if self._record.size > size:
                why = f"{self._record.size} bytes are wanted, it has {size}"
                raise Problem("disk-full", f"{path}: the device is too small", why=why)

    def _pieces(self) -> None:
        """What a hole was is zeros there: something else may have been before."""
        size = self._record.size
        position = 0
        while True:
            start, length = records.EXTENT.unpack(records.exactly(self._source, records.EXTENT.size))
            if start < position or start + length > size:
                raise broken("a piece that is not behind the one before it, inside of its file")
            self._zeros((start if length else size) - position)
            if not length:
                return
            self._piece(length)
            position = start + length

    def _piece(self, left: int) -> None:
        while left:
            part = self._source.read(min(left, CHUNK))
            if not part:
                raise broken("the tree ends in the middle")
            self._write(part)
            left -= len(part)

    def _zeros(self, left: int) -> None:
        zeros = bytes(min(left, CHUNK))
        while left:
            part = zeros[: min(left, CHUNK)]
            self._write(part)
            left -= len(part)

    def _write(self, part: bytes) -> None:
        if self._digest:
            self._digest.update(part)
        view = memoryview(part)
        while view:
            if self._waits:
                self._wait()
            written = os.write(self._descriptor, view)
            if not written:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            view = view[written:]
            self._pace.add(written)

    def _wait(self) -> None:
        until = time.monotonic() + PATIENCE
        while not select.select([], [self._descriptor], [], min(_LOOK, PATIENCE))[1]:
            if self._session.gone:
                raise Problem("controller-gone", "the controller went away")
            if time.monotonic() >= until:
                raise Problem(
                    "no-reader",
                    f"{show(self._place.path)}: nobody has read from it for {PATIENCE:g} s",
                    hint="look at what has it open",
                )

    def _verify(self, sent: bytes) -> None:
        """What came is what was read at the source, and the device has it."""
        wanted = records.exactly(self._source, records.DIGEST)
        digest = hashlib.sha256()
        left = self._record.size
        descriptor = os.open(self._place.name, os.O_RDONLY | _FLAGS, dir_fd=self._place.parent)
        try:
            with contextlib.suppress(AttributeError, OSError):
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            while left and (part := os.read(descriptor, min(left, CHUNK))):
                digest.update(part)
                left -= len(part)
        finally:
            os.close(descriptor)
        if not wanted == sent == digest.digest():
            raise Problem(
                "checksum",
                f"{show(self._place.path)}: what was written is not what was read",
                hint="copy it again; test the device",
            )
