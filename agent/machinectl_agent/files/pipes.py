"""The carry's bytes over SSH: this process's stdin or stdout; and the controller's orders before them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import stat
from typing import Optional

from machinectl_agent import wire
from machinectl_agent.files.framing import broken

_LINE = 65536
_WANTED = 1024 * 1024
"""Bytes in a pipe: sshd's other end is not woken for every 64 KiB."""


class Inbox:
    """stdin, unbuffered but for what was read together with a line: first lines, then bytes."""

    def __init__(self, descriptor: int = 0) -> None:
        self.descriptor = descriptor
        self._left = b""

    def readline(self) -> bytes:
        """Empty at the end."""
        while b"\n" not in self._left and len(self._left) <= wire.MAX_LINE:
            part = os.read(self.descriptor, _LINE)
            if not part:
                return b""
            self._left += part
        line, newline, self._left = self._left.partition(b"\n")
        return line + newline

    def wait(self, seconds: float, *others: int) -> bool:
        """Whether a line (or the end) is there; False when one of `others` can be read, or the time is over."""
        if b"\n" in self._left:
            return True
        ready, _, _ = select.select([self.descriptor, *others], [], [], seconds)
        return self.descriptor in ready

    def receive_into(self, view: memoryview) -> int:
        if self._left:
            size = min(len(view), len(self._left))
            view[:size] = self._left[:size]
            self._left = self._left[size:]
            return size
        try:
            return os.readv(self.descriptor, [view])
        except OSError as error:
            raise broken(error.strerror or "") from error

    def send(self, view: memoryview) -> None:
        raise NotImplementedError("stdin is for reading")


class Outbox:
    """stdout."""

    def __init__(self, descriptor: int = 1) -> None:
        self.descriptor = descriptor

    def receive_into(self, view: memoryview) -> int:
        raise NotImplementedError("stdout is for writing")

    def send(self, view: memoryview) -> None:
        try:
            while view:
                view = view[os.write(self.descriptor, view) :]
        except OSError as error:
            raise broken(error.strerror or "") from error


def widen(descriptor: int, size: Optional[int] = None) -> None:
    """A larger pipe, where it is one and the kernel allows it (pipe(7), pipe-max-size)."""
    with contextlib.suppress(OSError):
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            fcntl.fcntl(descriptor, 1031, size or _WANTED)  # F_SETPIPE_SZ, in fcntl from Python 3.10 on
