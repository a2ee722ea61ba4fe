"""The files that differ, one after the other: what travels in a sync without rsync.

    {"path":…,"size":…}     a line
    `size` bytes, and one: 0 whole, 1 it changed while it was read

Each is written beside the one that it replaces, and takes its name when it is whole. One that changed meanwhile is
left out, and told: the next sync has it. What its mode and owner are, and which may come at all, the consumer knows
from the controller, not from the stream.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from typing import Any, BinaryIO, Dict, Mapping, Tuple

from machinectl_agent.files.sync.below import Below
from machinectl_agent.files.sync.listing import TEMPORARY, open_file, problem_of, split_source
from machinectl_agent.files.sync.owners import owner_ids
from machinectl_agent.files.sync.place import Replacing, replacing
from machinectl_agent.problems import Problem

_CHUNK = 1024 * 1024
_LONGEST = 64 * 1024
"""Bytes of a line: a path has 4096 at most, each of them escaped as six."""

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def produce_changes(args: Mapping[str, Any], sink: BinaryIO, _session: Any) -> Dict[str, Any]:
    """args: sources, entries ([number of the source, path]) → files, vanished."""
    files, vanished = 0, []
    with contextlib.ExitStack() as stack:
        try:
            roots = [stack.enter_context(Below(split_source(str(one))[0])) for one in args["sources"]]
        except OSError as error:
            raise problem_of(error) from error
        for number, path in args["entries"]:
            try:
                descriptor = open_file(roots[number], path)
            except FileNotFoundError:
                vanished.append(path)
                continue
            except OSError as error:
                raise problem_of(error) from error
            try:
                size = os.fstat(descriptor).st_size
                sink.write(json.dumps({"path": path, "size": size}).encode("ascii") + b"\n")
                sink.write(b"\0" if _send(descriptor, size, sink) else b"\1")
            finally:
                os.close(descriptor)
            files += 1
    return {"files": files, "vanished": vanished}


def _send(descriptor: int, size: int, sink: BinaryIO) -> bool:
    """Exactly `size` bytes; whether they are what was in the file at one time."""
    before = os.fstat(descriptor)
    left = size
    while left:
        try:
            part = os.read(descriptor, min(_CHUNK, left))
        except OSError as error:
            raise problem_of(error) from error
        if not part:
            break
        sink.write(part)
        left -= len(part)
    for _ in range(0, left, _CHUNK):
        sink.write(bytes(min(_CHUNK, left)))
        left -= min(_CHUNK, left)
    after = os.fstat(descriptor)
    return (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)


def consume_changes(args: Mapping[str, Any], source: BinaryIO, _session: Any) -> Dict[str, Any]:
    """args: target, files ([path, mode, time, owner] of all that may come), owners (whether they are set), and
    `delete`, `exclude` as in `replacing` → files, changed (paths that were not whole)."""
    expected = {path: (mode, time, owner) for path, mode, time, owner in args["files"]}
    files, changed = 0, []
    reader = _Reader(source)
    try:
        below = Below(str(args["target"]) or ".")
    except OSError as error:
        raise problem_of(error) from error
    with below:
        writer = _Writer(below, reader, replacing(args), owners=bool(args.get("owners")))
        while line := reader.line():
            path, size = _head(line)
            wanted = expected.pop(path, None)
            if wanted is None:
                raise Problem("sync-path", f"{path!r} came, and nobody asked for it")
            try:
                whole = writer.receive(path, size, *wanted)
            except OSError as error:
                raise problem_of(error, below.shown(path)) from error
            if whole:
                files += 1
            else:
                changed.append(path)
    return {"files": files, "changed": changed}


def _head(line: bytes) -> Tuple[str, int]:
    try:
        head = json.loads(line)
        path, size = head["path"], head["size"]
    except (ValueError, TypeError, KeyError, RecursionError):
        path, size = "", -1
    if not isinstance(path, str) or type(size) is not int or size < 0:
        raise Problem("stream-broken", "the stream broke off", why="what came is no file")
    return path, size


class _Writer:
    """Files of a stream below a folder."""

    def __init__(self, below: Below, reader: _Reader, way: Replacing, *, owners: bool) -> None:
        self._below = below
        self._reader = reader
        self._way = way
        self._owners = owners
        self._prefix = f"{TEMPORARY}{os.getpid()}.{secrets.token_hex(4)}"
        self._count = 0

    def receive(self, path: str, size: int, mode: int, time: int, owner: str) -> bool:
        """Whether it was whole. Raises OSError and `Problem`."""
        folder, name = self._below.parent(path)
        self._count += 1
        temporary = f"{self._prefix}{self._count:x}"
        descriptor = os.open(temporary, _NEW, 0o600, dir_fd=folder)
        try:
            try:
                self._contents(descriptor, size)
                whole = self._reader.exactly(1) == b"\0"
                if whole:
                    if self._owners:
                        os.fchown(descriptor, *owner_ids(owner))
                    os.fchmod(descriptor, mode)
                    os.utime(descriptor, ns=(time, time))
            finally:
                os.close(descriptor)
            if whole:
                self._way.take_place(folder, temporary, name, path, self._below.shown(path))
                return True
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)
            raise
        os.unlink(temporary, dir_fd=folder)
        return False

    def _contents(self, descriptor: int, left: int) -> None:
        while left:
            part = memoryview(self._reader.some(left))
            left -= len(part)
            while part:
                part = part[os.write(descriptor, part) :]


class _Reader:
    """Lines and contents of one stream."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._left = b""

    def line(self) -> bytes:
        """Without its end; empty at the end of the stream."""
        while b"\n" not in self._left:
            part = self._more()
            if not part and self._left:
                raise Problem("stream-broken", "the stream broke off", why="in the middle of a line")
            if not part:
                return b""
            if len(self._left) > _LONGEST:
                raise Problem("stream-broken", "the stream broke off", why="what came is no line")
            self._left += part
        line, _, self._left = self._left.partition(b"\n")
        return line

    def some(self, most: int) -> bytes:
        """At least a byte, at most `most`."""
        part = self._left or self._more()
        if not part:
            raise Problem("stream-broken", "the stream broke off", why="in the middle of a file")
        part, self._left = part[:most], part[most:]
        return part

    def exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            found += self.some(size - len(found))
        return found

    def _more(self) -> bytes:
        # a carry's source gives what is there; another file waits for all of it
        read = getattr(self._source, "read1", self._source.read)
        return bytes(read(_CHUNK))
