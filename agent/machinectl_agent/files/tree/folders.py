"""Folders by descriptors: whoever may rename above them leads us nowhere else. And the end of what is in them."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Iterator, List, Optional, Tuple

_FOLDER = os.O_DIRECTORY | os.O_CLOEXEC
_PATH = getattr(os, "O_PATH", 0)


def open_folder(name: bytes, parent: Optional[int] = None, *, follow: bool = False) -> int:
    """A link is refused unless `follow`. One that may be written to but not read can't be listed then, nor synced."""
    flags = _FOLDER if follow else _FOLDER | os.O_NOFOLLOW
    try:
        return os.open(name, flags | os.O_RDONLY, dir_fd=parent)
    except PermissionError:
        if not _PATH:
            raise
        return os.open(name, flags | _PATH, dir_fd=parent)


@contextlib.contextmanager
def opened(name: bytes, parent: Optional[int] = None) -> Iterator[int]:
    descriptor = open_folder(name, parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def list_folder(descriptor: int) -> List[Tuple[bytes, bool]]:
    """Names, sorted, each with whether it is a folder."""
    with os.scandir(descriptor) as entries:
        return sorted((os.fsencode(one.name), one.is_dir(follow_symlinks=False)) for one in entries)


def make_own(name: bytes, parent: int) -> int:
    """A new folder that only we can look into. Raises FileExistsError."""
    os.mkdir(name, 0o700, dir_fd=parent)
    descriptor = open_own(name, parent)
    if descriptor is None:
        raise PermissionError(1, "somebody else changes the folder that it is in")
    return descriptor


def open_own(name: bytes, parent: int) -> Optional[int]:
    """None: it is not ours alone. In /tmp anybody may have made it before us."""
    try:
        descriptor = os.open(name, _FOLDER | os.O_NOFOLLOW | os.O_RDONLY, dir_fd=parent)
    except FileNotFoundError:
        raise
    except OSError:
        return None
    found = os.fstat(descriptor)
    if found.st_uid == os.geteuid() and not found.st_mode & 0o077:
        return descriptor
    os.close(descriptor)
    return None


def empty(descriptor: int) -> None:
    """All that is in a folder of ours."""
    for name, is_folder in list_folder(descriptor):
        _drop(name, descriptor, is_folder=is_folder)


def drop(name: bytes, parent: int) -> None:
    """A file, or a folder with all that is in it, in a folder of ours."""
    found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    _drop(name, parent, is_folder=stat.S_ISDIR(found.st_mode))


def _drop(name: bytes, parent: int, *, is_folder: bool) -> None:
    if not is_folder:
        os.unlink(name, dir_fd=parent)
        return
    if os.geteuid():
        os.chmod(
            name, 0o700, dir_fd=parent
        )  # one that was copied with its mode 0555 can't be emptied as it is
    with opened(name, parent) as descriptor:
        empty(descriptor)
    os.rmdir(name, dir_fd=parent)
