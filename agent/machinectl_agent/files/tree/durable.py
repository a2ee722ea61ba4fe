"""What is written is on the disk before it gets its name: a power cut leaves the old file or the new one."""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
from typing import Callable


def sync_file_system(descriptor: int) -> None:
    """One syncfs(2) for all files of a tree instead of an fsync(2) for each. Raises OSError."""
    try:
        syncfs = ctypes.CDLL(None, use_errno=True).syncfs
    except (AttributeError, OSError):
        os.sync()  # a C library without it
        return
    if syncfs(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def sync_files(descriptor: int) -> None:
    """Each file below, where they are few: syncfs would wait for all that others write on the file system.

    Raises OSError."""
    try:
        _each_file(descriptor, os.fsync)
    except PermissionError:  # a mode that came along, and that binds us
        sync_file_system(descriptor)


def start_writing_files(descriptor: int) -> None:
    """As `start_writing`, all that there is of each file below. Raises OSError, and says nothing of the disk."""
    _each_file(descriptor, lambda one: start_writing(one, 0, 0))


def start_writing(descriptor: int, offset: int, size: int) -> None:
    """The kernel begins to write that part to the disk (sync_file_range(2)), so that a sync at the end is short."""
    with contextlib.suppress(AttributeError, OSError):
        call = ctypes.CDLL(None).sync_file_range
        call(descriptor, ctypes.c_int64(offset), ctypes.c_int64(size), 2)  # SYNC_FILE_RANGE_WRITE


def _raise(error: OSError) -> None:
    raise error


def _each_file(descriptor: int, work: Callable[[int], None]) -> None:
    """And each folder."""
    for _, _, names, folder in os.fwalk(b".", dir_fd=descriptor, onerror=_raise):
        for name in names:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode):
                # not for reading: its mode may forbid that to us already
                flags = os.O_RDONLY if found.st_mode & 0o400 else os.O_WRONLY
                one = os.open(name, flags | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
                try:
                    work(one)
                finally:
                    os.close(one)
        work(folder)
