"""Phase `files`: files of the user's own on the host, and services that are restarted when they change.

A file that was there before is kept and comes back when ours is no longer wanted. What a plan shows of a file is
its diff, unless it is a secret, no text or long.
"""

from __future__ import annotations

import base64
import grp
import hashlib
import os
import posixpath
import pwd
import stat
from dataclasses import dataclass
from typing import Callable, List, Mapping, Optional, Tuple

from machinectl_agent.engine import daemon_json, unit
from machinectl_agent.host import Host
from machinectl_agent.phases.base import Context, Step, Work, text_diff
from machinectl_agent.phases.record import (
    ORIGINALS,
    FileEntry,
    Record,
    await_restart,
    change_record,
    read_record,
    restarted,
)
from machinectl_agent.phases.registry_cas import wanted_files
from machinectl_agent.problems import Problem
from machinectl_agent.spec import FileSpec

INCOMING = "/var/lib/machinectl/incoming"
SHOWN = 64 * 1024
"""Bytes of a file that a diff is made of."""
OURS = (daemon_json.FILE, unit.DROP_IN, unit.ENVIRONMENT, daemon_json.CA, daemon_json.CERT, daemon_json.KEY)
OUR_FOLDERS = (
    "/var/lib/machinectl/",
    "/opt/machinectl/",
    "/var/lib/machinectl-etcd/",
    "/etc/machinectl-etcd/",
)
PSEUDO = ("/proc/", "/sys/", "/dev/", "/run/")
ENGINE_UNITS = ("docker", "docker.service", "docker.socket", "containerd", "containerd.service")


@dataclass(frozen=True)
class Found:
    """A path as it is."""

    kind: str
    """`file`, `folder`, `link`, `other`, or empty where there is nothing."""
    sha256: str = ""
    mode: int = 0
    owner: Tuple[int, int] = (0, 0)
    text: Optional[str] = None
    """Of a short file that is text."""
    target: str = ""
    """Where a link leads."""


@dataclass(frozen=True)
class Seen:
    """The wanted files' paths and those that came by us earlier."""

    found: Mapping[str, Found]
    record: Record


class FilesPhase:
    """Before the engine is configured: a file may be one that dockerd reads."""

    name = "files"

    def observe(self, host: Host, context: Context) -> Seen:
        record = read_record(host)
        paths = {*(one.path for one in wanted_files(context.spec)), *record.files}
        return Seen({path: _look(host, path) for path in sorted(paths)}, record)

    def plan(self, seen: Seen, context: Context) -> List[Step]:
        steps: List[Step] = []
        files = wanted_files(context.spec)
        mine = context.spec.controller
        users_later = any(name not in seen.record.packages for name in context.spec.host.packages)
        # a unit that nobody wishes to be restarted any more is not waited for
        known = {
            *(one.restart for one in files),
            *(one.restart for one in seen.record.files.values()),
        }
        restarts = [name for name in seen.record.restarts if name in known]
        for one in files:
            _check(one, seen.found[one.path], users_later=users_later)
            change = _change(one, seen.found[one.path], seen.record.files.get(one.path))
            if change:
                steps.append(Step(f"{self.name}/{one.path}", change[0], _placer(one, mine), change[1]))
                restarts.append(one.restart)
        wanted = {one.path for one in files}
        for path, entry in seen.record.files.items():
            if path in wanted or entry.controller != mine:
                continue
            title = f"~ put {path} back as it was before" if entry.original else f"- remove {path}"
            steps.append(Step(f"{self.name}/back {path}", title, _back(path, entry)))
            restarts.append(entry.restart)
        for name in dict.fromkeys(restarts):
            if name:
                title = f"! restart {name} (its files have changed)"
                steps.append(Step(f"{self.name}/restart {name}", title, _restarter(name)))
        return steps


def _look(host: Host, path: str) -> Found:
    place = host.path(path)
    try:
        status = place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return Found("")
    owner, mode = (status.st_uid, status.st_gid), stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        return Found("link", mode=mode, owner=owner, target=os.readlink(place))  # noqa: PTH115 - a string is wanted
    if stat.S_ISDIR(status.st_mode):
        return Found("folder", mode=mode, owner=owner)
    if not stat.S_ISREG(status.st_mode):
        return Found("other", mode=mode, owner=owner)
    digest, text = hashlib.sha256(), None
    with place.open("rb") as stream:
        while part := stream.read(1024 * 1024):
            digest.update(part)
            if status.st_size <= SHOWN:
                text = _text(part)
    return Found("file", digest.hexdigest(), mode, owner, "" if status.st_size == 0 else text)


def _text(content: bytes) -> Optional[str]:
    try:
        return None if b"\0" in content else content.decode()
    except UnicodeDecodeError:
        return None


def _check(one: FileSpec, found: Found, *, users_later: bool) -> None:
    """Raises `Problem` before anything changes."""
    path = one.path
    if not path.startswith("/") or posixpath.normpath(path) != path or path == "/":
        raise Problem("file-path", f"{path!r} is no absolute path of a file", hint="write it as /etc/motd")
    if path in OURS or path.startswith(OUR_FOLDERS):
        raise Problem(
            "file-path",
            f"{path} is machinectl's own",
            hint="daemon.json's options are settings of the machine",
        )
    if path.startswith(PSEUDO):
        raise Problem("file-path", f"{path} would be gone with the next boot", hint="is it a sysctl setting?")
    if found.kind == "link":
        raise Problem("file-link", f"{path} is a link to {found.target}", hint="name the file that is meant")
    if found.kind in ("folder", "other"):
        what = "a folder" if found.kind == "folder" else "no regular file"
        raise Problem(
            "file-kind", f"{path} is {what} on this host", hint="name a file in it, or another path"
        )
    if one.restart in ENGINE_UNITS:
        raise Problem(
            "file-restart",
            f"{path}: {one.restart} is not restarted for a file",
            why="machinectl restarts the engine itself where its configuration asks for it",
        )
    if not users_later:
        _owner(one)


def _owner(one: FileSpec) -> Tuple[int, int]:
    """Raises `Problem` where the host has no such user or group."""
    try:
        user = int(one.owner) if one.owner.isdigit() else pwd.getpwnam(one.owner).pw_uid
    except KeyError:
        raise Problem("file-owner", f"{one.path}: there is no user {one.owner!r} on this host") from None
    try:
        group = int(one.group) if one.group.isdigit() else grp.getgrnam(one.group).gr_gid
    except KeyError:
        raise Problem("file-owner", f"{one.path}: there is no group {one.group!r} on this host") from None
    return user, group


def _change(one: FileSpec, found: Found, entry: Optional[FileEntry]) -> Optional[Tuple[str, str]]:
    """Title and diff of what is to be done; None where the file is as it should be."""
    if found.sha256 != one.sha256:
        sign = "~" if found.kind else "+"
        # daemon.json's rule: what the host's owner has changed by hand since is replaced, the plan shows it
        return f"{sign} write {one.path}", _diff(one, found)
    differing = []
    if found.mode != one.mode:
        differing.append(f"mode {found.mode:04o} → {one.mode:04o}")
    try:
        owner = _owner(one)
    except Problem:
        return f"~ give {one.path} to {one.owner}:{one.group}", ""
    if found.owner != owner:
        differing.append(f"owner {found.owner[0]}:{found.owner[1]} → {one.owner}:{one.group}")
    if differing:
        return f"~ change {one.path} ({', '.join(differing)})", ""
    if entry is not None and entry.restart != one.restart:
        return f"~ remember that {one.restart or 'nothing'} is restarted with {one.path}", ""
    return None


def _diff(one: FileSpec, found: Found) -> str:
    if one.secret:
        return "(secret)"
    wanted = None
    if one.content is not None and one.size <= SHOWN:
        wanted = _text(base64.b64decode(one.content))
    if wanted is None or (found.kind and found.text is None):
        return f"({one.size} bytes)"
    return text_diff(one.path, found.text or "", wanted)


def _placer(one: FileSpec, controller: str) -> Callable[[Work], None]:
    def apply(work: Work) -> None:
        host = work.host
        owner = _owner(one)
        content = _content(work, one)
        entry = read_record(host).files.get(one.path)
        if entry is None:
            entry = _keep_original(host, one, controller)
        entry = FileEntry(controller, one.restart, entry.original, entry.mode, entry.owner)
        change_record(host, "files", one.path, entry)
        await_restart(host, one.restart)
        host.place(one.path, content, one.mode, owner)
        host.remove(f"{INCOMING}/{one.sha256}")

    return apply


def _content(work: Work, one: FileSpec) -> bytes:
    if one.content is not None:
        return base64.b64decode(one.content)
    path = f"{INCOMING}/{one.sha256}"
    work.host.make_folder(INCOMING, 0o700)
    if not work.host.exists(path) or _sha256(work.host, path) != one.sha256:
        work.need([{"name": one.path, "sha256": one.sha256, "path": path}])
    if _sha256(work.host, path) != one.sha256:
        work.host.remove(path)
        raise Problem("file-corrupt", f"{one.path} arrived changed", hint="run the same command again")
    return work.host.path(path).read_bytes()


def _sha256(host: Host, path: str) -> str:
    return hashlib.sha256(host.path(path).read_bytes()).hexdigest()


def _keep_original(host: Host, one: FileSpec, controller: str) -> FileEntry:
    """The host's own file, kept before ours takes its place."""
    found = _look(host, one.path)
    if not found.kind:
        return FileEntry(controller)
    name = hashlib.sha256(one.path.encode()).hexdigest()[:32]
    host.make_folder(ORIGINALS, 0o700)
    host.place(f"{ORIGINALS}/{name}", host.path(one.path).read_bytes(), 0o600)
    return FileEntry(controller, original=name, mode=found.mode, owner=found.owner)


def _back(path: str, entry: FileEntry) -> Callable[[Work], None]:
    def apply(work: Work) -> None:
        host = work.host
        await_restart(host, entry.restart)
        kept = f"{ORIGINALS}/{entry.original}"
        if not entry.original:
            host.remove(path)
        elif host.exists(kept):
            host.place(path, host.path(kept).read_bytes(), entry.mode, entry.owner)
        change_record(host, "files", path, None)
        if entry.original:
            host.remove(kept)

    return apply


def _restarter(name: str) -> Callable[[Work], None]:
    def apply(work: Work) -> None:
        work.host.must("systemctl", "daemon-reload", deadline=60)
        work.host.must(
            "systemctl", "restart", name, deadline=120, hint=f"look at `journalctl -u {name}` on the host"
        )
        restarted(work.host, name)

    return apply
