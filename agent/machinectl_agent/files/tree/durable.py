"""What is written is on the disk before it gets its name: a power cut leaves the old file or the new one."""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat


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


def sync_files(path: bytes) -> None:
    """Each file below, where they are few: syncfs would wait for all that others write on the file system."""
    for folder, _, names in os.walk(path):
        for name in names:
            one = os.path.join(folder, name)
            found = os.lstat(one)
            if stat.S_ISREG(found.st_mode):
                # not for reading: its mode may forbid that to us already
                _sync(one, os.O_RDONLY if found.st_mode & 0o400 else os.O_WRONLY)
        sync_folder(folder)


def sync_folder(path: bytes) -> None:
    """The names in it."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def start_writing(descriptor: int, offset: int, size: int) -> None:
    """The kernel begins to write that part to the disk (sync_file_range(2)), so that a sync at the end is short."""
    with contextlib.suppress(AttributeError, OSError):
        call = ctypes.CDLL(None).sync_file_range
        call(descriptor, ctypes.c_int64(offset), ctypes.c_int64(size), 2)  # SYNC_FILE_RANGE_WRITE


def _sync(path: bytes, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
