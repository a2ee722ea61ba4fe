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
import shutil
import stat
from typing import Any

from machinectl_agent.files.tree.faults import problem_of

PREFIX = b".machinectl-part-"


def staging_path(target: bytes) -> bytes:
    """Pure but for a look whether the target is a folder: in it then, else beside it; on its file system."""
    path = os.path.abspath(os.path.expanduser(target) or b".")
    folder = path if os.path.isdir(path) else os.path.dirname(os.path.realpath(path))
    return os.path.join(folder, PREFIX + hashlib.sha256(path).hexdigest()[:12].encode())


class Staging:
    """Only its owner can look into it: what grows there has its final modes already."""

    def __init__(self, target: bytes, *, resume: bool) -> None:
        path = staging_path(target)
        try:
            self.path, self.descriptor = self._make(path, resume=resume)
        except OSError as error:
            raise problem_of(error, os.path.dirname(path)) from error

    def remove(self) -> None:
        _remove_tree(self.path)
        self._unlock()

    def keep(self) -> None:
        self._unlock()

    def _unlock(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _make(self, path: bytes, *, resume: bool) -> tuple[bytes, int]:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        # in /tmp anybody may have made it before us
        if _is_ours(path):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            if _locked(descriptor):
                if not resume:
                    clear(path)
                return path, descriptor
            os.close(descriptor)  # another copy to the same target is under way
        path += b"-" + secrets.token_hex(4).encode()
        os.mkdir(path, 0o700)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        _locked(descriptor)
        return path, descriptor


def clear(path: bytes) -> None:
    """All that is in the folder."""
    for name in os.listdir(path):
        drop(os.path.join(path, name))


def drop(path: bytes) -> None:
    """A file, or a folder with all that is in it."""
    if os.path.isdir(path) and not os.path.islink(path):
        _remove_tree(path)
    else:
        os.unlink(path)


def size_of(path: bytes) -> int:
    """Bytes of the files below."""
    size = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                size += os.lstat(os.path.join(folder, name)).st_size
    return size


def _is_ours(path: bytes) -> bool:
    found = os.lstat(path)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)  # a file system without locks
    return True


def _remove_tree(path: bytes) -> None:
    """A folder that was copied with its mode 0555 can't be emptied as it is."""

    def again(_remove: Any, failed: Any, _error: Any) -> None:
        with contextlib.suppress(OSError):
            os.chmod(os.path.dirname(failed), 0o700)
            if os.path.isdir(failed) and not os.path.islink(failed):
                os.chmod(failed, 0o700)
                shutil.rmtree(failed, ignore_errors=True)
            else:
                os.unlink(failed)

    shutil.rmtree(path, onerror=again)
