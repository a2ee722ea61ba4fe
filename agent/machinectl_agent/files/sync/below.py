"""Places below a folder, reached part by part from its descriptor: no link leads out of it.

What is below a target may belong to somebody whom its writer does not trust, and the names come from somebody else
again. A path that is joined as text is looked up anew by every call, through whatever links are there by then.
"""

from __future__ import annotations

import errno
import os
from typing import Any, List, Tuple

from machinectl_agent.problems import Problem

# O_PATH wants no permission to read; where there is none of it, folders that can't be read stay closed
_PATH = getattr(os, "O_PATH", os.O_RDONLY)
_FOLDER = _PATH | os.O_DIRECTORY | os.O_CLOEXEC
_KEPT = 64
"""Folders above the last one that stay open; those in deeper ones are opened anew."""


class Below:
    """`target` itself may be a link: whoever named it meant what it leads to."""

    def __init__(self, target: str) -> None:
        """Raises OSError where it is no folder."""
        self.target = target
        self._top = os.open(target, _FOLDER)
        self._names: List[str] = []
        self._open: List[int] = []
        self._deep = -1
        self._folder = ""
        self._here = self._top

    def __enter__(self) -> Below:
        return self

    def __exit__(self, *_: Any) -> None:
        for one in (*self._open, self._deep, self._top):
            if one >= 0:
                os.close(one)

    def parent(self, path: str) -> Tuple[int, str]:
        """The folder that a path is in, open until the next call, and the name in it; `.` is the target itself.
        Raises `Problem` for a path that is not below the target, OSError where its folder is not there."""
        folder, slash, name = path.rpartition("/")
        if name in ("", "..") or (slash and (not folder or name == ".")) or "\0" in path:
            raise _outside(path)
        if folder != self._folder:
            self._enter(folder, path)
        return self._here, name

    def shown(self, path: str) -> str:
        """As a person knows it."""
        return os.path.join(self.target, path)

    def _enter(self, folder: str, path: str) -> None:
        parts = folder.split("/") if folder else []
        if any(part in ("", ".", "..") for part in parts):
            raise _outside(path)
        kept = 0
        while kept < min(len(self._names), len(parts)) and self._names[kept] == parts[kept]:
            kept += 1
        self._names = self._names[:kept]
        while len(self._open) > kept:
            os.close(self._open.pop())
        self._folder, self._here = "\0", self._open[-1] if self._open else self._top
        for number, part in enumerate(parts[kept:], kept):
            found = self._step(part, "/".join(parts[: number + 1]))
            if number < _KEPT:
                self._names.append(part)
                self._open.append(found)
            else:
                if self._deep >= 0:
                    os.close(self._deep)
                self._deep = found
            self._here = found
        self._folder = folder

    def _step(self, part: str, folder: str) -> int:
        try:
            return os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=self._here)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise Problem(
                    "sync-path",
                    f"{self.shown(folder)} is no folder",
                    why="a link is not followed, and somebody may have put it there meanwhile",
                    hint="look who writes there; run the sync again",
                ) from error
            raise OSError(error.errno, error.strerror, self.shown(folder)) from error


def _outside(path: str) -> Problem:
    return Problem("sync-path", f"{path!r} is not below the target")
