"""What is written is on the disk before it gets its name: a power cut leaves the old file or the new one."""

from __future__ import annotations

import ctypes
import os


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


def sync_folder(path: bytes) -> None:
    """The names in it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
