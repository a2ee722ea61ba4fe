"""What a sync does to one name in an open folder: a whole file or link takes it, it goes, it gets its attributes.

Folders are descriptors here (below.py); links that have the name are never followed.
"""

from __future__ import annotations

import contextlib
import os
import stat

from machinectl_agent.files.sync.owners import owner_ids
from machinectl_agent.problems import Problem

_LOOK = getattr(os, "O_PATH", os.O_RDONLY | os.O_NONBLOCK) | os.O_NOFOLLOW | os.O_CLOEXEC


def take_place(folder: int, temporary: str, name: str, shown: str) -> None:
    """As rsync: an empty folder gives way, even one that --exclude hides. Raises `Problem` for another one."""
    try:
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except IsADirectoryError:
        clear(folder, name, shown)
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)


def clear(folder: int, name: str, shown: str) -> None:
    """Never what is in a folder: what is to go of it was named before."""
    with contextlib.suppress(FileNotFoundError):
        if why := remove(folder, name):
            raise Problem(
                "folder-in-the-way",
                f"{shown} is a folder here and none in the source",
                why=why,
                hint="--delete removes what is in it, but not what --exclude names",
            )


def remove(folder: int, name: str) -> str:
    """A file, a link or an empty folder; why it stays where it is another folder. Raises OSError."""
    try:
        os.unlink(name, dir_fd=folder)
    except (IsADirectoryError, PermissionError):  # the latter is what POSIX has for a folder
        if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise
        try:
            os.rmdir(name, dir_fd=folder)
        except OSError as error:
            return error.strerror or str(error)
    return ""


def set_attributes(folder: int, name: str, mode: int, time: int, owner: str) -> None:
    """`owner` empty: not set. Nothing where the name is gone; a link's mode is nobody's."""
    try:
        descriptor = os.open(name, _LOOK, dir_fd=folder)
    except FileNotFoundError:
        return  # it changed while it was read, and was left out
    try:
        if owner:
            os.chown(name, *owner_ids(owner), dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISLNK(os.fstat(descriptor).st_mode):
            _set_mode(descriptor, mode)
        os.utime(name, ns=(time, time), dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        pass
    finally:
        os.close(descriptor)


def _set_mode(descriptor: int, mode: int) -> None:
    if hasattr(os, "O_PATH"):
        os.chmod(f"/proc/self/fd/{descriptor}", mode)  # fchmod wants a descriptor that can read or write
    else:
        os.fchmod(descriptor, mode)
