"""Files that are either the old or the new ones, whatever dies in between; and what a killed writer left.

A temporary file is flock'ed by its writer for as long as it lives, so that `sweep_temporary` can tell the
leftovers of a killed process from the work of a running one without trusting process ids or clocks.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from machinectl.errors import StoreError

_TEMPORARY = ".tmp-"


def write_atomic(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replaces `path` by `content` with exactly `mode`, umask or not. Raises StoreError, see `replacing`."""
    with replacing(path, mode) as file:
        file.write(content)


@contextlib.contextmanager
def replacing(path: Path, mode: int = 0o600) -> Iterator[BinaryIO]:
    """A file to write to that is `path` at the end of the block, with exactly `mode`, umask or not; if the
    block raises, nothing has changed.

    Temporary file in the same folder, fsync, rename, fsync of the folder: after a crash or a power cut the
    path holds the old content or the new one. Raises StoreError (disk full, not writable).
    """
    try:
        temporary, descriptor = _open_temporary(path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, mode)
                yield file
                file.flush()
                os.fsync(descriptor)
                temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise StoreError(f"{path} can't be written", why=error.strerror or str(error)) from error


def _open_temporary(folder: Path) -> tuple[Path, int]:
    while True:
        temporary = folder / (_TEMPORARY + secrets.token_hex(8))
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # a sweep may have come between open and flock and taken it for a leftover
        if os.fstat(descriptor).st_nlink:
            return temporary, descriptor
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """fsync of a folder: makes a rename in it last (open(2), rename(2) say nothing about that)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep_temporary(folder: Path) -> None:
    """Deletes the temporary files in `folder` whose writers are dead."""
    for one in folder.glob(f"{_TEMPORARY}*"):
        try:
            descriptor = os.open(one, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            one.unlink(missing_ok=True)
        except OSError:
            pass  # its writer is alive
        finally:
            os.close(descriptor)
