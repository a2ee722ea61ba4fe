"""Two folders change places at once (renameat2(2), RENAME_EXCHANGE)."""

from __future__ import annotations

import ctypes
import os
from typing import Any

_AT_FDCWD = -100
_EXCHANGE = 2


def exchange(one: str, other: str) -> None:
    """Raises `OSError`. Where the C library or the file system can't do both at once, it is renames, with a moment
    without `other`."""
    if _exchange(one, other):
        aside = f"{one}.aside"
        os.rename(other, aside)  # noqa: PTH104
        os.rename(one, other)  # noqa: PTH104
        os.rename(aside, one)  # noqa: PTH104
    for name in (one, other):
        sync_folder(os.path.dirname(name))  # noqa: PTH120


def _exchange(one: str, other: str) -> int:
    library: Any = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):
        return -1
    return int(library.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE))


def sync_folder(folder: str) -> None:
    """A rename in it lasts."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
