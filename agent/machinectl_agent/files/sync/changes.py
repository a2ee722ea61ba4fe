"""The files that differ, one after the other: what travels in a sync without rsync.

    {"path":…,"size":…,"mode":…,"time":…,"owner":…}   a line
    `size` bytes, and one: 0 whole, 1 it changed while it was read

Each is written beside the one that it replaces, and takes its name when it is whole. One that changed meanwhile is
left out, and told: the next sync has it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from typing import Any, BinaryIO, Dict, Mapping

from machinectl_agent.files.sync.listing import TEMPORARY, problem_of, split_source
from machinectl_agent.problems import Problem

_CHUNK = 1024 * 1024
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def produce_changes(args: Mapping[str, Any], sink: BinaryIO, _session: Any) -> Dict[str, Any]:
    """args: sources, entries ([number of the source, path, mode, time, owner]) → files, vanished."""
    roots = [split_source(str(one))[0] for one in args["sources"]]
    files, vanished = 0, []
    for number, path, mode, time, owner in args["entries"]:
        try:
            descriptor = os.open(os.path.join(roots[number], path), _OPEN)
        except FileNotFoundError:
            vanished.append(path)
            continue
        except OSError as error:
            raise problem_of(error) from error
        with open(descriptor, "rb", buffering=0) as file:
            size = os.fstat(descriptor).st_size
            head = {"path": path, "size": size, "mode": mode, "time": time, "owner": owner}
            sink.write(json.dumps(head).encode("ascii") + b"\n")
            sink.write(b"\0" if _send(file, size, sink) else b"\1")
        files += 1
    return {"files": files, "vanished": vanished}


def _send(file: Any, size: int, sink: BinaryIO) -> bool:
    """Exactly `size` bytes; whether they are what was in the file at one time."""
    before = os.fstat(file.fileno())
    left = size
    while left:
        try:
            part = file.read(min(_CHUNK, left))
        except OSError as error:
            raise problem_of(error) from error
        if not part:
            break
        sink.write(part)
        left -= len(part)
    for _ in range(0, left, _CHUNK):
        sink.write(bytes(min(_CHUNK, left)))
        left -= min(_CHUNK, left)
    after = os.fstat(file.fileno())
    return (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)


def consume_changes(args: Mapping[str, Any], source: BinaryIO, _session: Any) -> Dict[str, Any]:
    """args: target, owners (whether they are set) → files, changed (paths that were not whole)."""
    target = str(args["target"]) or "."
    files, changed = 0, []
    reader = _Reader(source)
    while line := reader.line():
        head = json.loads(line)
        path = checked(str(head["path"]))
        try:
            whole = _receive(reader, target, path, head, owners=bool(args.get("owners")))
        except OSError as error:
            raise problem_of(error) from error
        if whole:
            files += 1
        else:
            changed.append(path)
    return {"files": files, "changed": changed}


def _receive(reader: _Reader, target: str, path: str, head: Mapping[str, Any], *, owners: bool) -> bool:
    final = os.path.join(target, path)
    temporary = os.path.join(os.path.dirname(final), f"{TEMPORARY}{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb", buffering=0) as file:
            left = int(head["size"])
            while left:
                part = memoryview(reader.some(left))
                left -= len(part)
                while part:
                    part = part[file.write(part) or 0 :]
            whole = reader.exactly(1) == b"\0"
            if whole:
                if owners:
                    set_owner(temporary, str(head["owner"]))
                os.fchmod(file.fileno(), int(head["mode"]))
                os.utime(temporary, ns=(int(head["time"]), int(head["time"])))
        if whole:
            take_place(temporary, final)
        return whole
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def take_place(temporary: str, final: str) -> None:
    """As rsync: an empty folder gives way, even one that --exclude hides. Raises `Problem` for another one."""
    try:
        os.replace(temporary, final)
    except IsADirectoryError:
        clear(final)
        os.replace(temporary, final)


def clear(path: str) -> None:
    """Never what is in a folder: what is to go of it was named before."""
    if os.path.islink(path) or not os.path.isdir(path):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return
    try:
        os.rmdir(path)
    except OSError as error:
        raise Problem(
            "folder-in-the-way",
            f"{path} is a folder here and none in the source",
            why=error.strerror or "",
            hint="--delete removes what is in it, but not what --exclude names",
        ) from error


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


def checked(path: str) -> str:
    """Raises `Problem` for a path that is not below the target."""
    if not path or path.startswith("/") or ".." in path.split("/"):
        raise Problem("sync-path", f"{path!r} is not below the target")
    return path


def set_owner(path: str, words: str) -> None:
    """By name where this host has it, else by number; a name that it does not have is left as it is."""
    import grp  # noqa: PLC0415 - with owners only
    import pwd  # noqa: PLC0415

    user, _, group = words.partition(":")
    try:
        uid = int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid
    except KeyError:
        uid = -1
    try:
        gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        gid = -1
    os.chown(path, uid, gid, follow_symlinks=False)
