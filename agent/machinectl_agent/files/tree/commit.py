"""A whole copy gets its names: first everything is looked at, then renamed.

All is done by descriptors: of the staging folder, which nobody else can look into, and of the folders at the target,
which somebody else may be changing meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple, Union

from machinectl_agent.files.framing import broken
from machinectl_agent.files.tree.across import copy_entry
from machinectl_agent.files.tree.durable import sync_file_system
from machinectl_agent.files.tree.faults import problem_of, show
from machinectl_agent.files.tree.folders import drop, list_folder, make_own, open_folder, opened
from machinectl_agent.files.tree.staging import PREFIX, Staging
from machinectl_agent.files.tree.target import Place
from machinectl_agent.problems import Problem

_MANY = 32
"""Folders; more are not synced one by one."""


class Step(NamedTuple):
    """`old`, a path below the staging folder, becomes `name` in the folder that the work is at."""

    old: bytes
    name: bytes
    folder: bool
    before: Optional[os.stat_result] = None
    """Of what is called so now."""
    within: Optional[List[Step]] = None
    """What goes into a folder that is there, and keeps what else is in it."""
    found: Optional[os.stat_result] = None
    """Of the old one then, before anything goes out of it."""


class Commit:
    """`plan` for each root, then `run`; and `finish` when the staging folder is gone."""

    def __init__(self, staging: Staging, *, exact: bool) -> None:
        """`exact`: modes, owners and times are those that came; else a file that was there passes on its own."""
        self._staging = staging.descriptor
        self._exact = exact
        around = os.fstat(staging.parent)
        self._around = (around.st_dev, around.st_ino)
        self._steps: List[Tuple[Place, Step]] = []
        self._touched: List[int] = []
        self._many = False
        self._last: Dict[Tuple[int, int], Tuple[int, os.stat_result]] = {}

    def plan(self, number: int, place: Place) -> None:
        """Raises `Problem` where a file is in the way of a folder, or a folder in that of a file."""
        old = str(number).encode()
        try:
            found = os.stat(old, dir_fd=self._staging, follow_symlinks=False)
        except FileNotFoundError:
            raise Problem(
                "copy-gone",
                f"{show(place.path)}: what had come of it was removed",
                why="the folder that a copy grows in is not there any more",
                hint="copy it again",
            ) from None
        is_folder = stat.S_ISDIR(found.st_mode)
        if is_folder != place.folder:
            raise broken("what came is not what was announced")
        self._steps.append(
            (place, self._plan(old, place.parent, place.name, place.path, is_folder=is_folder))
        )

    def run(self) -> None:
        """Raises `Problem`; what has its name by then keeps it."""
        for place, step in self._steps:
            self._make(step, place.parent, place.path)

    def finish(self) -> None:
        """Attributes of folders that the staging folder was in, and all names on the disk."""
        for descriptor, found in self._last.values():
            _give(descriptor, found)
        parents = {place.parent for place, step in self._steps if step.within is None}
        descriptors = [*self._touched, *parents]
        try:
            if self._many or len(descriptors) > _MANY:
                for one in {os.fstat(one).st_dev: one for one in descriptors}.values():
                    _sync(one, sync_file_system)
            else:
                for one in descriptors:
                    _sync(one, os.fsync)
        except OSError as error:
            raise problem_of(error, self._steps[-1][0].path) from error

    def close(self) -> None:
        for one in self._touched:
            os.close(one)
        self._touched.clear()

    def _plan(self, old: bytes, parent: int, name: bytes, path: bytes, *, is_folder: bool) -> Step:
        try:
            before = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return Step(old, name, is_folder)
        except OSError as error:
            raise problem_of(error, path) from error
        if not is_folder:
            if stat.S_ISDIR(before.st_mode):
                raise Problem("is-a-folder", f"{show(path)} is a folder, and a file was copied")
            return Step(old, name, is_folder, before)
        if stat.S_ISLNK(before.st_mode):
            raise Problem(
                "not-a-folder",
                f"{show(path)} is a link, and a folder was copied",
                hint="copy that folder by itself to where the link leads",
            )
        if not stat.S_ISDIR(before.st_mode):
            raise Problem("not-a-folder", f"{show(path)} is a file, and a folder was copied")
        try:
            found = os.stat(old, dir_fd=self._staging, follow_symlinks=False)
            if os.geteuid():
                os.chmod(old, 0o700, dir_fd=self._staging)  # what is in it goes out
            with opened(old, self._staging) as source:
                entries = list_folder(source)
            target = open_folder(name, parent)
        except OSError as error:
            raise problem_of(error, path) from error
        try:
            within = [
                self._plan(os.path.join(old, one), target, one, os.path.join(path, one), is_folder=folder)
                for one, folder in entries
            ]
        finally:
            os.close(target)
        return Step(old, name, is_folder, before, within, found)

    def _make(self, step: Step, parent: int, path: bytes) -> None:
        try:
            if step.within is None or step.found is None:
                self._move(step, parent)
                return
            target = open_folder(step.name, parent)
            self._touched.append(target)
            for one in step.within:
                self._make(one, target, os.path.join(path, one.name))
            self._leave(target, step.found)
        except OSError as error:
            raise problem_of(error, path) from error

    def _leave(self, descriptor: int, found: os.stat_result) -> None:
        here = os.fstat(descriptor)
        identity = (here.st_dev, here.st_ino)
        if self._exact and identity == self._around:
            self._last[identity] = (descriptor, found)
            return
        if self._exact:
            _give(descriptor, found)
        if len(self._touched) > _MANY:
            self._many = True
            self._touched.remove(descriptor)
            os.close(descriptor)

    def _move(self, step: Step, parent: int) -> None:
        try:
            self._rename(self._staging, step, parent)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with _beside(parent) as side:
                copy_entry(self._staging, step.old, side, step.name)
                self._rename(side, step._replace(old=step.name), parent)

    def _rename(self, source: int, step: Step, parent: int) -> None:
        """`source`: the folder that the step's old path is below."""
        if step.folder:
            self._rename_folder(source, step, parent)
            return
        if step.before and not self._exact and stat.S_ISREG(step.before.st_mode):
            if os.geteuid() == 0:
                os.chown(
                    step.old, step.before.st_uid, step.before.st_gid, dir_fd=source, follow_symlinks=False
                )
            os.chmod(step.old, stat.S_IMODE(step.before.st_mode), dir_fd=source)
        os.rename(step.old, step.name, src_dir_fd=source, dst_dir_fd=parent)

    def _rename_folder(self, source: int, step: Step, parent: int) -> None:
        if os.geteuid() == 0 and not self._exact:
            os.rename(step.old, step.name, src_dir_fd=source, dst_dir_fd=parent)
            return
        found = os.stat(step.old, dir_fd=source, follow_symlinks=False)
        closed = os.geteuid() != 0 and found.st_mode & 0o700 != 0o700
        if closed:  # its `..` is about to change
            os.chmod(step.old, found.st_mode | 0o700, dir_fd=source)
        with opened(step.old, source) as descriptor:
            try:
                os.rename(step.old, step.name, src_dir_fd=source, dst_dir_fd=parent)
            finally:
                if closed:
                    os.fchmod(descriptor, stat.S_IMODE(found.st_mode))
            if self._exact:
                os.utime(descriptor, ns=(found.st_atime_ns, found.st_mtime_ns))


@contextlib.contextmanager
def _beside(parent: int) -> Iterator[int]:
    """A staging folder on another disk: a mount point inside of the target."""
    name = PREFIX + secrets.token_hex(8).encode()
    descriptor = make_own(name, parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            drop(name, parent)


def _give(descriptor: int, found: os.stat_result) -> None:
    where: Union[int, bytes] = descriptor
    passing = getattr(os, "O_PATH", 0)
    if passing and fcntl.fcntl(descriptor, fcntl.F_GETFL) & passing:
        where = b"/proc/self/fd/%d" % descriptor
    if os.geteuid() == 0:
        os.chown(where, found.st_uid, found.st_gid)
    os.chmod(where, stat.S_IMODE(found.st_mode))
    os.utime(where, ns=(found.st_atime_ns, found.st_mtime_ns))


def _sync(descriptor: int, work: Callable[[int], None]) -> None:
    try:
        work(descriptor)
    except OSError as error:
        if error.errno != errno.EBADF:  # a folder that may be written to but not read
            raise
