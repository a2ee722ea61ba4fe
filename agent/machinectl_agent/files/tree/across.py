"""What can't be renamed to another disk is copied there, as it is."""

from __future__ import annotations

import os
import stat
from typing import Dict, Optional

from machinectl_agent.files.tree.content import CHUNK, extents
from machinectl_agent.files.tree.folders import list_folder, opened


def copy_entry(source: int, old: bytes, target: int, name: bytes) -> None:
    """`old`, below the folder `source`, into the folder `target`. Only we can look into both."""
    _Copy(target).entry(source, old, target, name, b"")


class _Copy:
    def __init__(self, base: int) -> None:
        self._base = base
        self._linked: Dict[int, bytes] = {}
        """Inode → the copy of a file with several names, below the base."""

    def entry(self, source: int, old: bytes, target: int, name: bytes, below: bytes) -> None:
        found = os.stat(old, dir_fd=source, follow_symlinks=False)
        mode = found.st_mode
        if stat.S_ISDIR(mode):
            self._folder(source, old, target, name, os.path.join(below, name), found)
        elif stat.S_ISREG(mode):
            if found.st_nlink > 1:
                known: Optional[bytes] = self._linked.get(found.st_ino)
                if known is not None:
                    os.link(known, name, src_dir_fd=self._base, dst_dir_fd=target, follow_symlinks=False)
                    return
                self._linked[found.st_ino] = os.path.join(below, name)
            _copy_file(source, old, target, name, found)
        else:
            if stat.S_ISLNK(mode):
                os.symlink(os.readlink(old, dir_fd=source), name, dir_fd=target)
            else:
                os.mknod(name, stat.S_IFMT(mode) | 0o600, found.st_rdev, dir_fd=target)
                os.chmod(name, stat.S_IMODE(mode), dir_fd=target)
            if os.geteuid() == 0:
                os.chown(name, found.st_uid, found.st_gid, dir_fd=target, follow_symlinks=False)
            os.utime(name, ns=(found.st_atime_ns, found.st_mtime_ns), dir_fd=target, follow_symlinks=False)

    def _folder(
        self, source: int, old: bytes, target: int, name: bytes, below: bytes, found: os.stat_result
    ) -> None:
        if os.geteuid():
            os.chmod(old, 0o700, dir_fd=source)  # it is thrown away afterwards
        os.mkdir(name, 0o700, dir_fd=target)
        with opened(old, source) as here, opened(name, target) as there:
            for one, _ in list_folder(here):
                self.entry(here, one, there, one, below)
            _give(there, found)
            os.fsync(there)


def _copy_file(source: int, old: bytes, target: int, name: bytes, found: os.stat_result) -> None:
    if os.geteuid() and not found.st_mode & 0o400:
        os.chmod(old, 0o600, dir_fd=source)
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    reading = os.open(old, os.O_RDONLY | flags, dir_fd=source)
    try:
        writing = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | flags, 0o600, dir_fd=target)
        try:
            for start, end in extents(reading, found.st_size):
                _copy_piece(reading, writing, start, end)
            os.ftruncate(writing, found.st_size)
            _give(writing, found)
            os.fsync(writing)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _copy_piece(reading: int, writing: int, position: int, end: int) -> None:
    while position < end:
        part = os.pread(reading, min(CHUNK, end - position), position)
        if not part:
            raise OSError("the staging folder changed")
        written = 0
        while written < len(part):
            written += os.pwrite(writing, part[written:], position + written)
        position += len(part)


def _give(descriptor: int, found: os.stat_result) -> None:
    if os.geteuid() == 0:
        os.fchown(descriptor, found.st_uid, found.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(found.st_mode))
    os.utime(descriptor, ns=(found.st_atime_ns, found.st_mtime_ns))
