"""Records of a stream become files below one folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from typing import BinaryIO, Callable, List, NamedTuple, Optional, Set

from machinectl_agent.files.framing import broken
from machinectl_agent.files.tree import records
from machinectl_agent.files.tree.durable import start_writing
from machinectl_agent.files.tree.faults import problem_of, show
from machinectl_agent.files.tree.folders import drop, list_folder, open_folder
from machinectl_agent.files.tree.progress import Pace
from machinectl_agent.files.tree.records import Record
from machinectl_agent.files.tree.target import Place, check_room
from machinectl_agent.problems import Problem

CHUNK = 1024 * 1024
_LARGE = 16 * 1024 * 1024
"""Bytes; for such a file it is worth a look whether there is room."""

_PUSH = 32 * 1024 * 1024
"""Bytes that are written before the disk is set to work on them."""

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


DEEPEST = 300
"""Folders in folders; each is open while what is in it comes."""


class _Folder(NamedTuple):
    descriptor: int
    path: bytes
    """Below the staging folder."""
    record: Optional[Record]
    seen: Optional[Set[bytes]]
    """Names that came, where there may be others of an earlier copy."""


class TreeWriter:
    """All paths are relative to an open folder: nobody can lead us
    elsewhere by a link."""

    def __init__(
        self,
        source: BinaryIO,
        staging: int,
        pace: Pace,
        *,
        exact: bool,
        archive: bool,
        recursive: bool,
        resume: bool,
        wrote_small: Callable[[int], None],
    ) -> None:
        """`wrote_small`: is told the size of each file that the disk is not set to work on here."""
        self._source = source
        self._wrote_small = wrote_small
        self._pace = pace
        self._exact = exact
        self._owners = archive and os.geteuid() == 0
        self._archive = archive
        self._recursive = recursive
        self._resume = resume
        umask = os.umask(0)
        os.umask(umask)
        self._umask = umask
        self._buffer = memoryview(bytearray(CHUNK))
        self._here = _Folder(open_folder(b".", staging), b"", None, set() if resume else None)
        self._above: List[_Folder] = []
        self._closed = False
        self._linked: List[bytes] = []
        self._users: dict[int, int] = {}
        self._groups: dict[int, int] = {}
        self._root = Place(b"", False, -1, b"")
        self._awaited = b""
        self.roots: Set[int] = set()
        """Numbers of those that came; a socket is left out at the source."""
        self.files = 0
        self.bytes = 0

    def close(self) -> None:
        """A second time nothing: the numbers are others' then."""
        folders, self._closed = () if self._closed else (self._here, *self._above), True
        for one in folders:
            with contextlib.suppress(OSError):
                os.close(one.descriptor)

    def root(self, place: Place, number: int) -> None:
        """What comes next is for there: one entry that is called like the number."""
        if self._above:
            raise broken("a folder was not left")
        self._root = place
        self._awaited = str(number).encode()

    def take(self, record: Record) -> None:
        """Raises `Problem`."""
        if not self._above and record.name:
            self._check_root(record)
        try:
            self._take(record)
        except OSError as error:
            raise problem_of(error, self._shown(record.name)) from error

    def end(self) -> None:
        """What an earlier copy left and this one has not sent."""
        if self._above:
            raise broken("a folder was not left")
        self._drop_others(self._here)

    def _check_root(self, record: Record) -> None:
        """The checks of the place (target.py) were about what was announced, and about nothing else."""
        if record.kind in (records.USER, records.GROUP):
            return
        if record.name != self._awaited:
            raise broken("a root of another name, or a second one")
        if (record.kind == records.ENTER) != self._root.folder:
            raise broken("what came is not what was announced")
        self.roots.add(int(self._awaited))
        self._awaited = b""

    def _take(self, record: Record) -> None:
        kind = record.kind
        if kind in (records.FILE, records.REST, records.KEEP, records.SPARSE):
            self._file(record)
        elif kind == records.ENTER and self._recursive:
            self._enter(record)
        elif kind == records.LEAVE:
            self._leave()
        elif not self._archive:
            raise broken("what came was not asked for")
        elif kind == records.LINK and record.size <= records.LONGEST:
            self._new_name(record.name)
            target = records.exactly(self._source, record.size)
            os.symlink(target, record.name, dir_fd=self._here.descriptor)
            self._attributes_of_link(record)
        elif kind == records.HARD:
            self._hard_link(record)
        elif kind == records.NODE:
            self._node(record)
        elif kind == records.USER:
            from machinectl_agent.files.tree.owners import user_id  # noqa: PLC0415 - with -a only

            self._users[record.uid] = user_id(record.name, record.uid)
        elif kind == records.GROUP:
            from machinectl_agent.files.tree.owners import group_id  # noqa: PLC0415 - with -a only

            self._groups[record.gid] = group_id(record.name, record.gid)
        else:
            raise broken("what came is no part of a tree")

    def _file(self, record: Record) -> None:
        size = record.size
        if size >= _LARGE and record.kind == records.FILE:
            check_room(self._here.descriptor, self._shown(record.name), size)
        self._pace.file(record.name if self._above else os.path.basename(self._root.path), size)
        descriptor = self._open(record)
        try:
            if record.kind == records.FILE and size <= CHUNK:
                content = records.exactly(self._source, size)
                written = os.write(descriptor, content) if size else 0
                if written != size:
                    _write_all(descriptor, memoryview(content)[written:])
                self._wrote(size)
                self._wrote_small(size)
            elif record.kind == records.FILE:
                self._copy(descriptor, size)
            elif record.kind == records.SPARSE:
                self._holes(descriptor, size)
            elif record.kind == records.REST:
                (offset,) = records.OFFSET.unpack(records.exactly(self._source, 8))
                if offset > min(size, os.fstat(descriptor).st_size):
                    raise broken("the rest of a file of which less is here")
                os.ftruncate(descriptor, offset)
                os.lseek(descriptor, offset, os.SEEK_SET)
                self._wrote(offset)
                self._copy(descriptor, size - offset)
            else:
                self._wrote(size)
            if record.flags & records.VERIFIED:
                self._verify(descriptor, record)
            self._attributes(descriptor, record)
        finally:
            os.close(descriptor)
        if record.flags & records.SEVERAL:
            self._linked.append(os.path.join(self._here.path, record.name))
        self.files += 1

    def _open(self, record: Record) -> int:
        mode = record.mode & 0o777
        folder = self._here
        if self._resume:
            if record.kind in (records.REST, records.KEEP):
                self._see(record.name)
                return self._reopen(record)
            self._new_name(record.name)
        elif record.kind in (records.REST, records.KEEP):
            raise broken("the rest of a file that is not here")
        return os.open(record.name, _NEW, mode, dir_fd=folder.descriptor)

    def _reopen(self, record: Record) -> int:
        """What an earlier copy left: a device would be written to, and it may have sent one."""
        folder = self._here.descriptor
        found = os.stat(record.name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(found.st_mode):
            raise broken("the rest of what is no file")
        return os.open(record.name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)

    def _copy(self, descriptor: int, left: int) -> None:
        readinto = self._source.readinto  # type: ignore[attr-defined] # a BufferedReader
        started = here = os.lseek(descriptor, 0, os.SEEK_CUR) if left > _PUSH else 0
        while left:
            if here - started >= _PUSH:
                start_writing(descriptor, started, here - started)
                started = here
            view = self._buffer[: min(CHUNK, left)]
            came = readinto(view)
            if not came:
                raise broken("the tree ends in the middle")
            _write_all(descriptor, view[:came])
            left -= came
            here += came
            self._wrote(came)

    def _holes(self, descriptor: int, size: int) -> None:
        os.ftruncate(descriptor, size)
        while True:
            start, length = records.EXTENT.unpack(records.exactly(self._source, records.EXTENT.size))
            if start > size or start + length > size:
                raise broken("a piece behind the end of its file")
            if not length:
                return
            os.lseek(descriptor, start, os.SEEK_SET)
            self._copy(descriptor, length)

    def _verify(self, descriptor: int, record: Record) -> None:
        """Reads from the disk what is there now."""
        wanted = records.exactly(self._source, records.DIGEST)
        if record.size > CHUNK:
            os.fsync(descriptor)
            with contextlib.suppress(AttributeError, OSError):
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        digest = hashlib.sha256()
        os.lseek(descriptor, 0, os.SEEK_SET)
        while came := os.readv(descriptor, [self._buffer]):
            digest.update(self._buffer[:came])
        if digest.digest() != wanted:
            path = show(self._shown(record.name))
            raise Problem(
                "checksum",
                f"{path}: what was written is not what was read",
                hint="copy it again; test the disk",
            )

    def _enter(self, record: Record) -> None:
        folder = self._here
        if len(self._above) >= DEEPEST:
            raise Problem(
                "too-deep", f"{show(self._shown(record.name))}: more than {DEEPEST} folders in each other"
            )
        mode = 0o700
        new = True
        if folder.seen is not None:
            self._see(record.name)
            with contextlib.suppress(FileNotFoundError):
                found = os.stat(record.name, dir_fd=folder.descriptor, follow_symlinks=False)
                new = not stat.S_ISDIR(found.st_mode)
                if new:
                    os.unlink(record.name, dir_fd=folder.descriptor)
                else:
                    os.chmod(record.name, mode, dir_fd=folder.descriptor)
        if new:
            os.mkdir(record.name, mode, dir_fd=folder.descriptor)
        descriptor = open_folder(record.name, folder.descriptor)
        self._above.append(folder)
        path = os.path.join(folder.path, record.name)
        self._here = _Folder(descriptor, path, record, set() if self._resume else None)

    def _leave(self) -> None:
        folder = self._here
        if folder.record is None:
            raise broken("no folder to leave")
        self._drop_others(folder)
        self._attributes(folder.descriptor, folder.record, made_with=0o700)
        os.close(folder.descriptor)
        self._here = self._above.pop()

    def _drop_others(self, folder: _Folder) -> None:
        if folder.seen is None:
            return
        for name, _ in list_folder(folder.descriptor):
            if name not in folder.seen:
                drop(name, folder.descriptor)

    def _hard_link(self, record: Record) -> None:
        if record.size >= len(self._linked):
            raise broken("another name of a file that did not come")
        self._new_name(record.name)
        os.link(
            self._linked[record.size],
            record.name,
            src_dir_fd=(self._above[0] if self._above else self._here).descriptor,
            dst_dir_fd=self._here.descriptor,
            follow_symlinks=False,
        )

    def _node(self, record: Record) -> None:
        if stat.S_ISFIFO(record.mode) or os.geteuid() == 0:
            self._new_name(record.name)
            os.mknod(record.name, stat.S_IFMT(record.mode) | 0o600, record.size, dir_fd=self._here.descriptor)
            os.chmod(record.name, stat.S_IMODE(record.mode), dir_fd=self._here.descriptor)
            self._attributes_of_link(record)
        else:
            raise problem_of(PermissionError(1, "Operation not permitted"), self._shown(record.name))

    def _see(self, name: bytes) -> None:
        """The second of one name would replace, or be written into, what the first has made."""
        seen = self._here.seen
        if seen is None:
            return
        if name in seen:
            raise broken("a name came twice")
        seen.add(name)

    def _new_name(self, name: bytes) -> None:
        """Nothing is called so in this folder."""
        if self._here.seen is None:
            return
        self._see(name)
        with contextlib.suppress(FileNotFoundError):
            drop(name, self._here.descriptor)

    def _attributes(self, descriptor: int, record: Record, made_with: int = -1) -> None:
        """`made_with`: the mode that it has now; else what the kernel made of the record's."""
        if self._owners:
            os.fchown(descriptor, *self._owner(record))
        wanted = stat.S_IMODE(record.mode) if self._exact else record.mode & 0o777 & ~self._umask
        has = made_with if made_with >= 0 else record.mode & 0o777 & ~self._umask
        if wanted != has or self._owners or record.kind in (records.REST, records.KEEP):
            os.fchmod(descriptor, wanted)
        if self._exact:
            os.utime(descriptor, ns=(record.atime, record.mtime))

    def _attributes_of_link(self, record: Record) -> None:
        folder = self._here.descriptor
        if self._owners:
            os.chown(record.name, *self._owner(record), dir_fd=folder, follow_symlinks=False)
        os.utime(record.name, ns=(record.atime, record.mtime), dir_fd=folder, follow_symlinks=False)

    def _owner(self, record: Record) -> tuple[int, int]:
        return self._users.get(record.uid, record.uid), self._groups.get(record.gid, record.gid)

    def _shown(self, name: bytes) -> bytes:
        """As a person knows it."""
        if not self._above:
            return self._root.path
        below = [
            one.record.name for one in (*self._above[2:], self._here) if one.record and len(self._above) > 1
        ]
        return os.path.join(self._root.path, *below, name)

    def _wrote(self, size: int) -> None:
        self.bytes += size
        self._pace.add(size)


def _write_all(descriptor: int, view: memoryview) -> None:
    while view:
        view = view[os.write(descriptor, view) :]
