"""A tar file compressed while it is written, as its name says: .gz, .zst, or not at all."""

from __future__ import annotations

import contextlib
import gzip
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from machinectl.errors import MachinectlError, UsageError

LEVEL = 4
"""gzip's: layers are mostly programs, where 9 takes five times as long for 2 % less."""

WAIT = 600.0
"""Seconds for zstd to write what it still holds."""


@contextlib.contextmanager
def packed(path: Path, file: BinaryIO) -> Iterator[BinaryIO]:
    """`file` gets what is written, in the form that `path`'s ending names. Raises `UsageError` for another ending."""
    ending = path.suffix.lower()
    if ending in (".gz", ".tgz"):
        with gzip.GzipFile("", "wb", LEVEL, file, mtime=0) as stream:
            yield cast(BinaryIO, stream)
    elif ending in (".zst", ".tzst"):
        with _zstd(file) as pipe:
            yield pipe
    elif ending in (".xz", ".bz2", ".lz4", ".zip"):
        raise UsageError(
            f"{path}: no {ending} is written", hint="a name that ends in .tar, .tar.gz or .tar.zst"
        )
    else:
        yield file


@contextlib.contextmanager
def _zstd(file: BinaryIO) -> Iterator[BinaryIO]:
    try:
        child = subprocess.Popen(["zstd", "-q", "-T0", "-c"], stdin=subprocess.PIPE, stdout=file)
    except FileNotFoundError as error:
        raise UsageError("there is no program zstd here", hint="install it, or write .tar.gz") from error
    with child:
        assert child.stdin
        try:
            yield cast(BinaryIO, child.stdin)
            child.stdin.close()
            status = child.wait(WAIT)
        finally:
            child.kill()
    if status:
        raise MachinectlError("zstd failed", why=f"exit status {status}")
