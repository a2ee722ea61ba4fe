"""What a sync does to one name in an open folder: a whole file or link takes it, it goes, it gets its attributes.

Folders are descriptors here (below.py); links that have the name are never followed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Any, Mapping, Optional

from machinectl_agent.files.sync.exclude import Excluded, compile_excludes
from machinectl_agent.files.sync.listing import hidden, stale
from machinectl_agent.files.sync.owners import owner_ids
from machinectl_agent.problems import Problem

_LOOK = getattr(os, "O_PATH", os.O_RDONLY | os.O_NONBLOCK) | os.O_NOFOLLOW | os.O_CLOEXEC


class Replacing:
    """What a file or a link may take the place of. As rsync: an empty folder gives way, even one that --exclude
    hides; another one with --delete, if nothing in it is excluded."""

    def __init__(self, excluded: Optional[Excluded] = None) -> None:
        """`excluded`: what --delete leaves; None: nothing is deleted."""
        self._excluded = excluded

    def take_place(self, folder: int, temporary: str, name: str, path: str, shown: str) -> None:
        """`path`: as patterns mean it. Raises `Problem` for a folder that stays."""
        try:
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except IsADirectoryError:
            if self._excluded and self._all_may_go(folder, name, path, self._excluded):
                _empty(folder, name)
            clear(folder, name, shown)
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)

    def _all_may_go(self, folder: int, name: str, path: str, excluded: Excluded) -> bool:
        above = path[: len(path) - len(name)]
        for inside, folders, names, here in os.fwalk(name, onerror=_fail, dir_fd=folder):
            for one in (*folders, *names):
                found = os.stat(one, dir_fd=here, follow_symlinks=False)
                if hidden(one) and not stale(one):
                    return False
                if excluded(f"{above}{inside}/{one}", stat.S_ISDIR(found.st_mode)):
                    return False
        return True


def replacing(args: Mapping[str, Any]) -> Replacing:
    """args: delete (whether what is in folders may go), exclude (patterns of what may not)."""
    return Replacing(compile_excludes(args.get("exclude") or ()) if args.get("delete") else None)


def _fail(error: OSError) -> None:
    """A folder that can't be looked into is not taken for an empty one."""
    raise error


def _empty(folder: int, name: str) -> None:
    for _, folders, names, here in os.fwalk(name, topdown=False, dir_fd=folder):
        for one in (*folders, *names):
            with contextlib.suppress(FileNotFoundError):
                remove(here, one)


def clear(folder: int, name: str, shown: str) -> None:
    """Never what is in a folder."""
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
