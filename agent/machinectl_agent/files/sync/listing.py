"""What is in folders, as far as a sync must know it: on a machine, and with the same code on the controller.

An entry is a list, as it goes over the wire: path below the source, kind (f, d, l, o for others), size, time of
change (ns), mode, target of a link, owner (`user:group`, by name where there is one).
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from typing import Any, Dict, Iterator, List, Mapping, Sequence, Tuple

from machinectl_agent.files.sync.below import Below
from machinectl_agent.files.sync.exclude import Excluded, compile_excludes
from machinectl_agent.files.sync.owners import owner_words
from machinectl_agent.files.tree.staging import PREFIX
from machinectl_agent.problems import Problem

Entry = List[Any]
PATH, KIND, SIZE, TIME, MODE, LINK, OWNER = range(7)

TEMPORARY = ".machinectl-sync."
"""Names of files that are not whole yet begin with it, the writer's pid follows."""

UNFINISHED = (TEMPORARY, os.fsdecode(PREFIX))
"""How names begin that are nothing of a folder's: of a sync or a scp that is under way, or was killed."""

_CHUNK = 1024 * 1024
_AT_ONCE = 2000
_LETTERS = 1024 * 1024
"""Of names in one message, which may have 16 MiB: each of them may need six bytes there."""
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def hidden(name: str) -> bool:
    return name.startswith(UNFINISHED)


def stale(name: str) -> bool:
    """A file of a sync that was killed outright."""
    return name.startswith(TEMPORARY) and not os.path.exists(f"/proc/{name.split('.')[2]}")


def split_source(source: str) -> Tuple[str, str]:
    """Pure: the folder that paths begin at, and the first name: empty for what is in a folder (a trailing /)."""
    if source.endswith("/") or source in (".", "..") or source.endswith(("/.", "/..")):
        return source, ""
    return os.path.dirname(source) or ".", os.path.basename(source)


def scan(source: str, exclude: Sequence[str] = (), *, missing: bool = False) -> Iterator[Entry]:
    """A source and everything below it, folders before what is in them; `.` is the folder itself where only what is
    in it is meant. `missing`: a folder that is not there has nothing.
    Raises `Problem`."""
    root, first = split_source(source)
    excluded = compile_excludes(exclude)
    owners: Dict[Tuple[int, int], str] = {}
    try:
        if first:
            entry = _entry(os.path.join(root, first), first, owners)
            if entry[KIND] == "d" and excluded(first, True):
                return
            yield entry
            if entry[KIND] != "d":
                return
        elif not os.path.isdir(root):
            _explain(root)
        else:
            yield _entry(root, ".", owners)
        yield from _below(root, first, excluded, owners)
    except FileNotFoundError as error:
        if missing:
            return
        raise Problem("no-such-file", f"{error.filename}: no such file or folder") from error
    except OSError as error:
        raise problem_of(error) from error


def _explain(root: str) -> None:
    if os.path.lexists(root):
        raise Problem("not-a-folder", f"{root} is no folder")
    raise FileNotFoundError(2, "No such file or directory", root)


def _below(root: str, folder: str, excluded: Excluded, owners: Dict[Tuple[int, int], str]) -> Iterator[Entry]:
    folders = [folder]
    while folders:
        inside = folders.pop()
        real = os.path.join(root, inside, "")
        above = f"{inside}/" if inside else ""
        for name in sorted(os.listdir(real)):
            path = above + name
            try:
                entry = _entry(real + name, path, owners)
            except FileNotFoundError:
                continue  # gone since
            if hidden(name) or excluded(path, entry[KIND] == "d"):
                continue
            yield entry
            if entry[KIND] == "d":
                folders.append(path)


def _entry(real: str, path: str, owners: Dict[Tuple[int, int], str]) -> Entry:
    found = os.lstat(real)
    mode = found.st_mode
    kind = "f" if stat.S_ISREG(mode) else "d" if stat.S_ISDIR(mode) else "l" if stat.S_ISLNK(mode) else "o"
    identity = (found.st_uid, found.st_gid)
    if identity not in owners:
        owners[identity] = owner_words(*identity)
    target = os.readlink(real) if kind == "l" else ""
    size = found.st_size if kind == "f" else 0
    return [path, kind, size, found.st_mtime_ns, stat.S_IMODE(mode), target, owners[identity]]


def open_file(below: Below, path: str) -> int:
    """To read. Raises FileNotFoundError where there is no file any more, behind folders, and other OSErrors."""
    try:
        folder, name = below.parent(path)
        descriptor = os.open(name, _OPEN, dir_fd=folder)
    except Problem:
        raise FileNotFoundError(errno.ENOENT, "what it was in is no folder any more", path) from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise FileNotFoundError(errno.ENOENT, "it is no file any more", path) from error
        raise OSError(error.errno, error.strerror, below.shown(path)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(errno.ENOENT, "it is no file any more", path)
    return descriptor


def digest(below: Below, path: str, session: Any) -> str:
    """SHA-256 of a file's contents; empty where it can't be read any more. Raises `Problem` where nobody waits."""
    found = hashlib.sha256()
    try:
        with open(open_file(below, path), "rb", buffering=0) as file:
            while part := file.read(_CHUNK):
                found.update(part)
                if getattr(session, "gone", False):
                    raise Problem("controller-gone", "the controller went away")
    except OSError:
        return ""
    return found.hexdigest()


def list_entries(args: Mapping[str, Any], session: Any) -> Dict[str, Any]:
    """The op `listing`: args sources, exclude, missing → events `entries` (of the source with that number)."""
    for number, source in enumerate(args["sources"]):
        part: List[Entry] = []
        letters = 0
        for entry in scan(str(source), args.get("exclude") or (), missing=bool(args.get("missing"))):
            part.append(entry)
            letters += len(entry[PATH]) + len(entry[LINK])
            if len(part) == _AT_ONCE or letters > _LETTERS:
                session.emit({"event": "entries", "source": number, "entries": part})
                part, letters = [], 0
        session.emit({"event": "entries", "source": number, "entries": part})
    return {}


def list_digests(args: Mapping[str, Any], session: Any) -> Dict[str, Any]:
    """The op `digests`: args root, paths → digests, in their order."""
    try:
        with Below(str(args["root"]) or ".") as below:
            return {"digests": [digest(below, path, session) for path in args["paths"]]}
    except OSError as error:
        raise problem_of(error) from error


def problem_of(error: OSError, name: str = "") -> Problem:
    """`name`: what it is about, where the error itself knows only the last part of it."""
    code = {errno.EACCES: "denied", errno.EPERM: "denied", errno.ENOSPC: "disk-full", errno.EDQUOT: "disk-full",
            errno.EROFS: "read-only"}.get(error.errno or 0, "file")  # fmt: skip
    name = name or (os.fsdecode(error.filename) if error.filename else "")
    what = "the disk is full" if code == "disk-full" else f"{name}: {error.strerror}" if name else str(error)
    hint = {
        "denied": "leave USER@ out to write as root, or choose a folder of that user's",
        "disk-full": "make room: `df -h` on the machine says where",
        "read-only": "the target is on a file system that is mounted read-only",
    }.get(code, "")
    return Problem(code, what, why=name if code == "disk-full" else "", hint=hint)
