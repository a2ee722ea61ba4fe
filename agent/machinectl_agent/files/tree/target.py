"""What the stream becomes here: the names that its roots get, and all that can be said against them before a byte is
written."""

from __future__ import annotations

import errno
import fnmatch
import os
import stat
from typing import Any, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

from machinectl_agent.files.framing import broken
from machinectl_agent.files.tree.faults import problem_of, show, to_bytes
from machinectl_agent.files.tree.folders import open_folder
from machinectl_agent.files.tree.same import host_identity, identities_above, is_one
from machinectl_agent.problems import Problem


class Place(NamedTuple):
    """One root's end."""

    path: bytes
    """As a person knows it."""
    folder: bool
    """The root is a folder."""
    parent: int
    """A descriptor: the folder that `name` is in. The target keeps it open."""
    name: bytes
    special: bool = False
    """A device or FIFO is there: it is written to, not replaced."""


class Target:
    """A path as a person wrote it: a folder that roots go into, or the new name of the only root."""

    def __init__(
        self, path: bytes, plan: Mapping[str, Any], *, into: bool, names: Optional[Sequence[str]] = None
    ) -> None:
        """`into`: there are further sources, so that it must be a folder. `names`: what roots may be called, patterns
        too; None: anything. Raises `Problem`."""
        self._names = None if names is None else [to_bytes(one) for one in names]
        self._path = os.path.expanduser(path) or b"."
        self._same_host = plan.get("host") == host_identity()
        self._is_folder = os.path.isdir(self._path)
        self._folders: Dict[bytes, int] = {}
        if not self._is_folder and (into or int(plan["roots"]) > 1):
            there = os.path.lexists(self._path)
            what = "is no folder" if there else "is not there"
            raise Problem(
                "not-a-folder", f"{show(path)} {what}", hint="several files go into a folder that is there"
            )

    def place(self, root: Mapping[str, Any]) -> Place:
        """Raises `Problem` where the root can't be put there."""
        name = to_bytes(str(root["name"]))
        is_folder = bool(root["folder"])
        self._check_name(name)
        path = self._named(name, is_folder=is_folder)
        self._check_same(path, root, is_folder=is_folder)
        # from here on by descriptors: whoever may rename on the way to there does not change what is meant
        parent, last = self._open_parent(path, itself=self._is_folder and not name)
        try:
            found = os.stat(last, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return Place(path, is_folder, parent, last)
        except OSError as error:
            raise problem_of(error, path) from error
        if stat.S_ISLNK(found.st_mode):
            raise problem_of(OSError(errno.ELOOP, ""), path)  # links have been followed
        if is_folder and not stat.S_ISDIR(found.st_mode):
            raise Problem("not-a-folder", f"{show(path)} is a file, and {show(name)} a folder")
        if not is_folder and stat.S_ISDIR(found.st_mode):
            raise Problem("is-a-folder", f"{show(path)} is a folder, and {show(name)} a file")
        if not is_folder and not os.access(last, os.W_OK, dir_fd=parent):
            raise problem_of(PermissionError(13, "Permission denied"), path)
        special = not is_folder and not stat.S_ISREG(found.st_mode)
        return Place(path, is_folder, parent, last, special)

    def close(self) -> None:
        for one in self._folders.values():
            os.close(one)
        self._folders.clear()

    def _open_parent(self, path: bytes, *, itself: bool) -> Tuple[int, bytes]:
        folder, name = (path, b".") if itself or path == b"/" else os.path.split(path)
        if folder not in self._folders:
            try:
                self._folders[folder] = open_folder(folder, follow=True)
            except OSError as error:
                if name != b".":
                    self._check_parent(path)
                raise problem_of(error, folder) from error
        return self._folders[folder], name

    def _named(self, name: bytes, *, is_folder: bool) -> bytes:
        if self._is_folder:
            # a link at the end is where the content goes, as with scp
            return os.path.realpath(os.path.join(self._path, name) if name else self._path)
        if self._path.endswith(b"/") and not is_folder:
            raise Problem("not-a-folder", f"{show(self._path)} is not there", hint="make the folder first")
        return os.path.realpath(self._path)

    def _check_name(self, name: bytes) -> None:
        """A machine that has been broken into must not choose which file here it writes (scp's CVE-2019-6111)."""
        if b"/" in name or b"\0" in name or name in (b".", b".."):
            raise broken(f"a name that no file has: {name!r}")
        if self._names is not None and not any(_is_meant(name, one) for one in self._names):
            raise Problem(
                "not-asked-for", f"{show(name)} came, which nobody asked for", hint="look at the source"
            )

    def _check_same(self, path: bytes, root: Mapping[str, Any], *, is_folder: bool) -> None:
        if not self._same_host:
            return
        if is_one(path, root["id"]):
            raise Problem(
                "same-file", f"both ends are the same {'folder' if is_folder else 'file'}: {show(path)}"
            )
        if is_folder and tuple(root["id"]) in identities_above(os.path.dirname(path)):
            raise Problem("into-itself", f"{show(path)} is inside the folder that is copied")

    @staticmethod
    def _check_parent(path: bytes) -> None:
        parent = os.path.dirname(path)
        if not os.path.isdir(parent):
            what = "is no folder" if os.path.lexists(parent) else "is not there"
            raise Problem("no-folder", f"{show(parent)} {what}", hint="make the folder first")


def _is_meant(name: bytes, pattern: bytes) -> bool:
    """As glob(3): `*` is no hidden file."""
    hidden = name.startswith(b".") and not pattern.startswith(b".")
    return name == pattern or (not hidden and fnmatch.fnmatchcase(name, pattern))


def check_room(folder: int, path: bytes, wanted: int) -> None:
    """Raises `Problem` `disk-full` before the disk is. `path`: what is to come, for people."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return
    free = found.f_bavail * found.f_frsize
    if wanted > free:
        raise Problem(
            "disk-full",
            f"{show(path)}: there is no room",
            why=f"{wanted} bytes are wanted, {free} are free",
            hint="make room: `df -h` there says where",
        )
