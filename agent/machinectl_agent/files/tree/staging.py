"""Where a copy grows until it is whole: a folder beside the target, nobody else's business.

Its name comes from the target's, so that the next copy to the same target finds what a broken one has left: to go
on with it (--resume), or to clear it away.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
from typing import Optional

from machinectl_agent.files.tree.faults import problem_of, show
from machinectl_agent.files.tree.folders import empty, make_own, open_folder, open_own
from machinectl_agent.problems import Problem

PREFIX = b".machinectl-part-"


def staging_path(target: bytes, name: bytes = b"") -> bytes:
    """Pure but for a look whether the target is a folder: in it then, else beside it; on its file system.
    `name`: of the only root where that is a folder; one that is there already and on another disk holds its own."""
    path = os.path.abspath(os.path.expanduser(target) or b".")
    folder = os.path.dirname(os.path.realpath(path))
    if os.path.isdir(path):
        folder = path
        inside = os.path.join(path, name)
        if name and os.path.isdir(inside) and os.stat(inside).st_dev != os.stat(path).st_dev:
            folder = os.path.realpath(inside)
    return os.path.join(folder, PREFIX + hashlib.sha256(path).hexdigest()[:12].encode())


def open_left(target: bytes, name: bytes) -> Optional[int]:
    """What a broken copy has left, open and locked; None: nothing. Raises `Problem` where it is no broken one."""
    folder, last = os.path.split(staging_path(target, name))
    try:
        parent = open_folder(folder, follow=True)
    except OSError:
        return None
    try:
        descriptor = open_own(last, parent)
    except FileNotFoundError:
        return None
    finally:
        os.close(parent)
    if descriptor is not None and not _locked(descriptor):
        os.close(descriptor)
        raise _under_way(target)
    return descriptor


class Staging:
    """Only its owner can look into it: what grows there has its final modes already."""

    def __init__(self, target: bytes, name: bytes, *, resume: bool) -> None:
        """`name`: see `staging_path`. Raises `Problem` where the earlier copy, which is to be gone on with, is still
        under way."""
        self._target = target
        self.lasts = True
        """The next copy to the same target finds it."""
        folder, self._name = os.path.split(staging_path(target, name))
        try:
            self.parent = open_folder(folder, follow=True)
            try:
                self.descriptor = self._make(resume=resume)
            except BaseException:
                os.close(self.parent)
                raise
        except OSError as error:
            raise problem_of(error, folder) from error

    def remove(self) -> None:
        with contextlib.suppress(OSError):
            empty(self.descriptor)
            os.rmdir(self._name, dir_fd=self.parent)
        self.keep()

    def keep(self) -> None:
        for one in (self.descriptor, self.parent):
            if one >= 0:
                os.close(one)
        self.descriptor = self.parent = -1

    def size(self) -> int:
        """Bytes of the files in it."""
        size = 0
        for _, _, names, folder in os.fwalk(b".", dir_fd=self.descriptor):
            for name in names:
                with contextlib.suppress(OSError):
                    size += os.stat(name, dir_fd=folder, follow_symlinks=False).st_size
        return size

    def _make(self, *, resume: bool) -> int:
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._name, 0o700, dir_fd=self.parent)
        descriptor = open_own(self._name, self.parent)
        if descriptor is not None:
            if _locked(descriptor):
                if not resume:
                    empty(descriptor)
                return descriptor
            os.close(descriptor)  # another copy to the same target is under way
            if resume:
                raise _under_way(self._target)
        self.lasts = False
        self._name += b"-" + secrets.token_hex(4).encode()
        descriptor = make_own(self._name, self.parent)
        _locked(descriptor)
        return descriptor


def _under_way(target: bytes) -> Problem:
    return Problem(
        "copy-under-way",
        f"an earlier copy to {show(target)} still runs there",
        why="its host has not noticed that the connection is gone, or it is not gone",
        hint="try again in some minutes, or without --resume",
    )


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)  # a file system without locks
    return True
