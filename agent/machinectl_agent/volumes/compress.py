"""zstd by its program, gzip by Python's own zlib: a stream in, a stream out, in constant memory.

The controller uses it, too: it imports nothing of the machine's.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
import zlib
from typing import Any, BinaryIO, Callable, List, Optional, Union, cast

from machinectl_agent.problems import Problem

ZSTD, GZIP, NONE = "zstd", "gzip", "none"

CHUNK = 512 * 1024
_SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_GZIP_LEVEL = 4
"""Half the time of 6 for 3 % more."""

Part = Union[bytes, memoryview]


def has_zstd() -> bool:
    return bool(shutil.which("zstd", path=_SEARCH) or shutil.which("zstd"))


def kind_of(beginning: bytes) -> str:
    """Pure: what a stream is compressed by, from its first four bytes (RFC 8878, RFC 1952)."""
    if beginning.startswith(b"\x28\xb5\x2f\xfd"):
        return ZSTD
    return GZIP if beginning.startswith(b"\x1f\x8b") else NONE


def zstd_missing(where: str) -> Problem:
    return Problem(
        "zstd-missing",
        f"zstd is not installed {where}",
        hint="install its package zstd there, or use --compress gzip",
    )


class Squeezer:
    """`write` what is to be compressed to `sink`, then `close`."""

    def __init__(self, kind: str, sink: BinaryIO) -> None:
        self._sink = sink
        self._gzip = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, 31) if kind == GZIP else None
        self._zstd = _Program(["zstd", "-q", "-3", "-T0", "-c"]) if kind == ZSTD else None
        self._pump = _Pump(self._drain) if self._zstd else None

    def write(self, part: Part) -> None:
        if self._zstd:
            self._zstd.write(part, self._failure)
        elif self._gzip:
            self._sink.write(self._gzip.compress(part))
        else:
            self._sink.write(part)

    def close(self) -> None:
        """Everything has gone to the sink."""
        if self._zstd and self._pump:
            self._zstd.end_input()
            self._pump.join()
            self._zstd.check("compressing")
        elif self._gzip:
            self._sink.write(self._gzip.flush())

    def abandon(self) -> None:
        if self._zstd and self._pump:
            self._zstd.kill()
            self._pump.wait()

    def _drain(self) -> None:
        assert self._zstd is not None
        try:
            while part := self._zstd.read():
                self._sink.write(part)
        except BaseException:
            self._zstd.kill()  # its writer must not wait for a reader that is gone
            raise

    def _failure(self) -> None:
        assert self._pump is not None
        self._pump.join()


class Expander:
    """`read` gives what a stream holds, whatever it is compressed by; b"" at its end."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._first = source.read(4)
        self.kind = kind_of(self._first)
        self._gzip: Any = zlib.decompressobj(31) if self.kind == GZIP else None
        self._pending = b""
        self._spare = b""
        self._zstd: Optional[_Program] = None
        self._pump: Optional[_Pump] = None
        if self.kind == ZSTD:
            if not has_zstd():
                raise zstd_missing("on the machine that unpacks")
            self._zstd = _Program(["zstd", "-q", "-d", "-c"])
            self._pump = _Pump(self._fill)

    def readinto(self, view: memoryview) -> int:
        """As `read`, into memory that is there; without a copy where nothing is to be unpacked."""
        if self.kind == NONE and not self._first:
            return int(cast(Any, self._source).readinto(view))
        if not self._spare:
            self._spare = self.read()
        size = min(len(view), len(self._spare))
        view[:size] = self._spare[:size]
        self._spare = self._spare[size:]
        return size

    def read(self) -> bytes:
        """Raises `Problem` `backup-damaged`, and what the source raises."""
        if self._zstd and self._pump:
            part = self._zstd.read()
            if not part:
                self._pump.join()
                self._zstd.check("unpacking")
            return part
        return self._expand() if self._gzip else self._raw()

    def close(self) -> None:
        if self._zstd and self._pump:
            self._zstd.kill()
            self._pump.wait()

    def _raw(self) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        return cast(bytes, cast(Any, self._source).read(CHUNK))

    def _expand(self) -> bytes:
        while True:
            content = self._pending or self._raw()
            self._pending = b""
            if not content:
                if not self._gzip.eof:
                    raise Problem("backup-damaged", "the backup is damaged", why="it is cut off")
                return b""
            if self._gzip.eof:
                self._gzip = zlib.decompressobj(31)  # gzip's members follow each other
            try:
                part = self._gzip.decompress(content, CHUNK)
            except zlib.error as error:
                raise Problem("backup-damaged", "the backup is damaged", why=str(error)) from error
            self._pending = self._gzip.unconsumed_tail or self._gzip.unused_data
            if part:
                return cast(bytes, part)

    def _fill(self) -> None:
        assert self._zstd is not None
        try:
            while part := self._raw():
                if not self._zstd.offer(part):
                    return  # it has found out that the stream is damaged
        except BaseException:
            self._zstd.kill()
            raise
        self._zstd.end_input()


class _Program:
    """zstd between two pipes."""

    def __init__(self, words: List[str]) -> None:
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )

    def write(self, part: Part, failure: Callable[[], None]) -> None:
        """`failure` is asked why where it reads no more."""
        if not self.offer(part):
            failure()
            self.check("compressing")
            raise Problem("zstd-failed", "zstd ended too early")

    def offer(self, part: Part) -> bool:
        view = memoryview(part)
        try:
            while view:
                view = view[cast(Any, self._process.stdin).write(view) :]
        except OSError:
            return False
        return True

    def read(self) -> bytes:
        return cast(bytes, cast(Any, self._process.stdout).read(CHUNK))

    def end_input(self) -> None:
        try:
            cast(Any, self._process.stdin).close()
        except OSError:
            pass  # its status says why

    def check(self, work: str) -> None:
        """Raises `Problem` with its own words where it failed."""
        said = cast(Any, self._process.stderr).read().decode(errors="replace").strip()
        if self._process.wait():
            if work == "unpacking":
                raise Problem("backup-damaged", "the backup is damaged", why=said[-300:])
            raise Problem("zstd-failed", "zstd failed", why=said[-300:])

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()


class _Pump:
    """Moves bytes in a thread; what it raised is raised by `join`."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._error: Optional[BaseException] = None
        self._thread = threading.Thread(target=self._run, name="zstd", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        self._thread.join()

    def join(self) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error
