"""A whole copy gets its names: first everything is looked at, then renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from typing import List, NamedTuple

from machinectl_agent.files.framing import broken
from machinectl_agent.files.tree.durable import sync_file_system, sync_folder
from machinectl_agent.files.tree.faults import problem_of, show
from machinectl_agent.files.tree.target import Place
from machinectl_agent.problems import Problem

_MANY = 32
"""Folders; more are not synced one by one."""


class Move(NamedTuple):
    """`old` in the staging folder becomes `new`. A folder that is there already keeps what is in it: `merged`."""

    old: bytes
    new: bytes
    found: os.stat_result
    """Of the old one, before anything was moved out of it."""
    merged: bool = False


def plan_moves(old: bytes, place: Place) -> List[Move]:
    """Raises `Problem` where a file is in the way of a folder, or a folder in that of a file. Nothing for a root that
    was left out at the source: a socket."""
    try:
        found = os.lstat(old)
    except FileNotFoundError:
        return []
    if stat.S_ISDIR(found.st_mode) != place.folder:
        raise broken("what came is not what was announced")
    if not place.folder or not os.path.isdir(place.path):
        return [Move(old, place.path, found)]
    moves: List[Move] = []
    _plan_folder(old, place.path, moves)
    return moves


def _plan_folder(old: bytes, new: bytes, moves: List[Move]) -> None:
    here = os.lstat(old)
    for entry in sorted(os.scandir(old), key=lambda one: one.name):
        path = os.path.join(new, entry.name)
        is_folder = entry.is_dir(follow_symlinks=False)
        if not os.path.lexists(path):
            moves.append(Move(entry.path, path, entry.stat(follow_symlinks=False)))
        elif is_folder and os.path.isdir(path):
            _plan_folder(entry.path, path, moves)
        elif is_folder:
            raise Problem("not-a-folder", f"{show(path)} is a file, and a folder was copied")
        elif os.path.isdir(path) and not os.path.islink(path):
            raise Problem("is-a-folder", f"{show(path)} is a folder, and a file was copied")
        else:
            moves.append(Move(entry.path, path, entry.stat(follow_symlinks=False)))
    moves.append(Move(old, new, here, merged=True))


def make_moves(moves: List[Move], *, exact: bool) -> None:
    """`exact`: modes, owners and times are those that came; else a file that was there gives the new one its own."""
    folders = {os.path.dirname(one.new) for one in moves}
    for one in moves:
        try:
            _make_move(one, exact=exact)
        except OSError as error:
            raise problem_of(error, one.new) from error
    try:
        if len(folders) > _MANY:
            descriptor = os.open(os.path.dirname(moves[-1].new), os.O_RDONLY | os.O_DIRECTORY)
            sync_file_system(descriptor)
            os.close(descriptor)
        else:
            for folder in folders:
                sync_folder(folder)
    except PermissionError:
        pass  # a folder that may be written to but not read
    except OSError as error:
        raise problem_of(error, moves[-1].new) from error


def _make_move(one: Move, *, exact: bool) -> None:
    found = one.found
    if one.merged:
        if exact:
            _give(one.new, found)
        return
    if stat.S_ISDIR(found.st_mode):
        if not found.st_mode & 0o200 and os.geteuid():
            os.chmod(one.old, found.st_mode | 0o200)  # its `..` is about to change
        os.rename(one.old, one.new)
        os.chmod(one.new, stat.S_IMODE(found.st_mode))
        if exact:
            os.utime(one.new, ns=(found.st_atime_ns, found.st_mtime_ns))
        return
    if not exact and stat.S_ISREG(found.st_mode):
        with contextlib.suppress(FileNotFoundError):
            _take_over(one.old, os.lstat(one.new))
    try:
        os.rename(one.old, one.new)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy_over(one)  # a mount point inside of the target


def _take_over(path: bytes, before: os.stat_result) -> None:
    if not stat.S_ISREG(before.st_mode):
        return
    if os.geteuid() == 0:
        os.chown(path, before.st_uid, before.st_gid)
    os.chmod(path, stat.S_IMODE(before.st_mode))


def _give(path: bytes, found: os.stat_result) -> None:
    if os.geteuid() == 0:
        os.chown(path, found.st_uid, found.st_gid)
    os.chmod(path, stat.S_IMODE(found.st_mode))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def _copy_over(one: Move) -> None:
    temporary = one.new + b".machinectl-part"
    try:
        shutil.copy2(one.old, temporary, follow_symlinks=False)
        if not os.path.islink(temporary):
            found = os.lstat(one.old)
            if os.geteuid() == 0:
                os.chown(temporary, found.st_uid, found.st_gid)
            descriptor = os.open(temporary, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        os.rename(temporary, one.new)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
