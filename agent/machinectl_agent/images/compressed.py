"""Tar files as people keep them: plain, or compressed by gzip, bzip2, xz or zstd, whatever their name says."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import subprocess
import zlib
from pathlib import Path
from typing import Any, BinaryIO, Callable, Iterator, Tuple, cast

from machinectl_agent.images.tarfiles import BrokenArchive

ZSTD = b"\x28\xb5\x2f\xfd"


_OPENERS: Tuple[Tuple[bytes, Callable[[Any], Any]], ...] = (
    (b"\x1f\x8b", lambda file: gzip.GzipFile(fileobj=file)),
    (b"BZh", bz2.BZ2File),
    (b"\xfd7zXZ\x00", lzma.LZMAFile),
)


class _Unpacked:
    """A stream whose faults are the archive's."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def seekable(self) -> bool:
        return False

    def read(self, size: int = -1) -> bytes:
        try:
            return self._stream.read(size)
        except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
            raise BrokenArchive(f"its compression is damaged, or it ends early ({error})") from error


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[BinaryIO]:
    """What is in it, to be read once from its beginning. Raises `BrokenArchive` and `OSError`."""
    with path.open("rb") as file:
        magic = file.read(6)
        file.seek(0)
        opener = next((one for start, one in _OPENERS if magic.startswith(start)), None)
        if opener is not None:
            with opener(file) as stream:
                yield cast(BinaryIO, _Unpacked(stream))
        elif magic[:4] == ZSTD:
            with _by_zstd(file) as stream:
                yield stream
        else:
            yield file


@contextlib.contextmanager
def _by_zstd(file: BinaryIO) -> Iterator[BinaryIO]:
    """By the program: Python has it from 3.14 on only."""
    os.lseek(file.fileno(), 0, os.SEEK_SET)  # the child reads from there, whatever our buffer holds
    try:
        child = subprocess.Popen(["zstd", "-dc"], stdin=file, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except FileNotFoundError as error:
        raise BrokenArchive("it is compressed by zstd, and there is no program zstd to unpack it") from error
    with child:
        try:
            yield cast(BinaryIO, _Piped(child))
        finally:
            # nobody reads on where the archive was refused in its middle
            child.kill()


class _Piped:
    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child

    def seekable(self) -> bool:
        return False

    def read(self, size: int = -1) -> bytes:
        assert self._child.stdout and self._child.stderr
        part = self._child.stdout.read(size)
        if not part and self._child.wait():
            words = self._child.stderr.read(500).decode(errors="replace").strip()
            raise BrokenArchive(f"its compression is damaged, or it ends early ({words})")
        return part
