"""Files and folders of this host into a stream (see records.py)."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from typing import Any, BinaryIO, Dict, List, Mapping, Optional, Set, Tuple

from machinectl_agent.files.tree import records
from machinectl_agent.files.tree.content import ContentReader, equal_until
from machinectl_agent.files.tree.faults import changed, problem_of, show, to_bytes, to_text
from machinectl_agent.files.tree.progress import Teller
from machinectl_agent.files.tree.roots import Root, check_root, find_roots
from machinectl_agent.files.tree.same import host_identity
from machinectl_agent.problems import Problem

SMALL = 128 * 1024
"""Bytes; such a file is read at once and goes into the stream with its record."""

_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


def produce_tree(args: Mapping[str, Any], sink: BinaryIO, session: Teller) -> Dict[str, Any]:
    """args: sources, glob (expand patterns), recursive, archive (links, owners, holes, devices), times (keep times
    and modes), verify (send checksums), partial (what the target has, see partial.py), total (say how much it is)
    → files, bytes."""
    return _Producer(args, sink, session).run()


class _Producer:
    def __init__(self, args: Mapping[str, Any], sink: BinaryIO, session: Teller) -> None:
        self._sources = [to_bytes(one) for one in args["sources"]]
        self._glob = bool(args.get("glob"))
        self._recursive = bool(args.get("recursive"))
        self._archive = bool(args.get("archive"))
        self._verify = bool(args.get("verify"))
        self._partial: Mapping[str, List[Any]] = args.get("partial") or {}
        self._total = bool(args.get("total"))
        self._sink = sink
        self._write = sink.write
        self._session = session
        self._files = 0
        self._bytes = 0
        self._content = ContentReader(sink, self._read)
        self._inodes: Dict[Tuple[int, int], int] = {}
        self._owners: Set[Tuple[int, int]] = set()
        self._above: List[Tuple[int, int]] = []

    def run(self) -> Dict[str, Any]:
        roots = find_roots(self._sources, globs=self._glob)
        stats = [check_root(one.path, recursive=self._recursive, follow=not self._archive) for one in roots]
        if self._total:
            self._session.emit({"event": "total", **count([one.path for one in roots], self._recursive)})
        plan = {"roots": len(roots), "host": host_identity()}
        self._write(records.encode(records.PLAN, json.dumps(plan).encode()))
        for number, root in enumerate(roots):
            self._root(number, root, stats[number])
        self._write(records.encode(records.END))
        return {"files": self._files, "bytes": self._bytes}

    def _root(self, number: int, root: Root, found: os.stat_result) -> None:
        is_folder = stat.S_ISDIR(found.st_mode)
        if not root.name and not is_folder:
            raise Problem("not-a-file", f"{show(root.path)} has no name")
        told = {
            "name": to_text(root.name),
            "path": to_text(root.path),
            "folder": is_folder,
            "id": [found.st_dev, found.st_ino],
        }
        self._write(records.encode(records.ROOT, json.dumps(told).encode()))
        self._entry(root.path, str(number).encode(), str(number) if self._partial else "")

    def _entry(self, path: bytes, name: bytes, below: str, *, is_file: bool = False) -> None:
        """`below`: its path below the staging folder, where it matters. `is_file`: that is known already."""
        try:
            if is_file:
                self._file(path, name, below)
            else:
                self._one(path, name, below, os.lstat(path) if self._archive else os.stat(path))
        except FileNotFoundError as error:
            if os.path.islink(path):
                raise Problem("no-such-file", f"{show(path)} is a link to what is not there") from error
            raise changed(path) from error
        except OSError as error:
            raise problem_of(error, path) from error

    def _one(self, path: bytes, name: bytes, below: str, found: os.stat_result) -> None:
        mode = found.st_mode
        if stat.S_ISDIR(mode):
            self._folder(path, name, below, found)
        elif stat.S_ISREG(mode):
            self._file(path, name, below)
        elif not self._archive:
            self._session.log(f"{show(path)}: left out, it is neither a file nor a folder")
        elif stat.S_ISLNK(mode):
            target = os.readlink(path)
            self._write(self._head(records.LINK, name, found, size=len(target)) + target)
        elif stat.S_ISSOCK(mode):
            self._session.log(f"{show(path)}: left out, it is a socket")
        else:
            self._write(self._head(records.NODE, name, found, size=found.st_rdev))

    def _folder(self, path: bytes, name: bytes, below: str, found: os.stat_result) -> None:
        identity = (found.st_dev, found.st_ino)
        if identity in self._above:
            raise Problem(
                "link-loop", f"{show(path)}: symbolic links lead in a circle", hint="-a copies links"
            )
        self._above.append(identity)
        self._write(self._head(records.ENTER, name, found))
        folders = []
        follow = not self._archive
        with os.scandir(path) as entries:
            for entry in entries:
                # files first: what is in a folder lies together on the disk, and one folder is open at a time
                if entry.is_dir(follow_symlinks=follow):
                    folders.append(entry.name)
                else:
                    is_file = entry.is_file(follow_symlinks=follow)
                    inside = below and f"{below}/{to_text(entry.name)}"
                    self._entry(entry.path, entry.name, inside, is_file=is_file)
        for one in sorted(folders):
            self._entry(os.path.join(path, one), one, below and f"{below}/{to_text(one)}")
        self._write(records.encode(records.LEAVE))
        self._above.pop()

    def _file(self, path: bytes, name: bytes, below: str) -> None:
        descriptor = os.open(path, _OPEN | (os.O_NOFOLLOW if self._archive else 0))
        try:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise changed(path)
            flags = 0
            if self._archive and before.st_nlink > 1:
                number = self._inodes.get((before.st_dev, before.st_ino))
                if number is not None:
                    self._write(self._head(records.HARD, name, before, size=number))
                    return
                self._inodes[before.st_dev, before.st_ino] = len(self._inodes)
                flags = records.SEVERAL
            self._file_content(descriptor, path, name, below, before, flags)
            after = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if after.st_mtime_ns != before.st_mtime_ns or after.st_size != before.st_size:
            raise changed(path)
        self._files += 1

    def _file_content(
        self, descriptor: int, path: bytes, name: bytes, below: str, found: os.stat_result, flags: int
    ) -> None:
        size = found.st_size
        digest: Optional[Any] = None
        if self._verify:
            digest = hashlib.sha256()
            flags |= records.VERIFIED
        have = self._partial.get(below) if below else None
        if have:
            offset = equal_until(descriptor, size, int(have[0]), have[1], digest)
            kind = records.KEEP if offset == size == have[0] else records.REST
            self._bytes += offset
            self._write(self._head(kind, name, found, flags=flags, size=size))
            if kind == records.REST:
                self._content.rest(descriptor, size, offset, digest, path)
        elif size <= SMALL:
            content = os.read(descriptor, size + 1)
            if len(content) != size:
                raise changed(path)
            if digest:
                digest.update(content)
            self._write(self._head(records.FILE, name, found, flags=flags, size=size) + content)
            self._read(size)
        elif self._archive and found.st_blocks * 512 < size:
            self._write(self._head(records.SPARSE, name, found, flags=flags, size=size))
            self._content.sparse(descriptor, size, digest, path)
        else:
            self._write(self._head(records.FILE, name, found, flags=flags, size=size))
            self._content.whole(descriptor, size, digest, path)
        if digest:
            self._write(digest.digest())

    def _read(self, size: int) -> None:
        self._bytes += size

    def _head(self, kind: int, name: bytes, found: os.stat_result, *, flags: int = 0, size: int = 0) -> bytes:
        head = records.HEAD.pack(
            kind,
            flags,
            len(name),
            found.st_mode & 0xFFFFFFFF,
            found.st_mtime_ns,
            found.st_atime_ns,
            found.st_uid,
            found.st_gid,
            size,
        )
        if self._archive and (found.st_uid, found.st_gid) not in self._owners:
            return self._name_owners(found) + head + name
        return head + name

    def _name_owners(self, found: os.stat_result) -> bytes:
        """Owners by name, as another host may count them otherwise; by number where they have none."""
        from machinectl_agent.files.tree.owners import group_name, user_name  # noqa: PLC0415 - with -a only

        self._owners.add((found.st_uid, found.st_gid))
        said = b""
        for kind, name in (
            (records.USER, user_name(found.st_uid)),
            (records.GROUP, group_name(found.st_gid)),
        ):
            if name:
                said += records.encode(kind, name, uid=found.st_uid, gid=found.st_gid)
        return said


def count(paths: List[bytes], recursive: bool) -> Dict[str, int]:
    """How many files and bytes there are, as far as can be seen."""
    files = size = 0
    for path in paths:
        if recursive and os.path.isdir(path):
            for folder, _, names in os.walk(path):
                for name in names:
                    try:
                        size += os.lstat(os.path.join(folder, name)).st_size
                    except OSError:
                        continue
                    files += 1
        else:
            files += 1
            size += os.stat(path).st_size if os.path.exists(path) else 0
    return {"files": files, "bytes": size}
