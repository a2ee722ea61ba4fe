"""Which files are meant: paths as a person wrote them."""

from __future__ import annotations

import glob
import os
import stat
from typing import List, NamedTuple, Sequence

from machinectl_agent.files.tree.faults import problem_of, show
from machinectl_agent.problems import Problem


class Root(NamedTuple):
    path: bytes
    name: bytes
    """What it is called at the target; empty: only what is in it is meant (`folder/.`)."""


def find_roots(sources: Sequence[bytes], *, globs: bool) -> List[Root]:
    """`~` is a home folder, as a shell has it. A path that is there is that file even where it could be a pattern.
    Raises `Problem` where there is none."""
    found: List[Root] = []
    for source in sources:
        path = os.path.expanduser(source) or b"."
        if globs and not os.path.lexists(path) and glob.has_magic(path):
            matching = sorted(glob.glob(path))
            if not matching:
                raise Problem("no-such-file", f"nothing matches {show(source)}")
            found.extend(Root(one, name_of(one)) for one in matching)
        else:
            found.append(Root(path, name_of(path)))
    return found


def name_of(path: bytes) -> bytes:
    """The last part; empty for `.`, `folder/.` and `/`."""
    last = path.rstrip(b"/").rpartition(b"/")[2]
    if last == b"..":
        last = os.path.basename(os.path.realpath(path))
    return b"" if last == b"." else last


def check_root(path: bytes, *, recursive: bool, follow: bool) -> os.stat_result:
    """What it is. Raises `Problem` for what can't be copied."""
    try:
        found = os.stat(path, follow_symlinks=follow)
    except OSError as error:
        raise problem_of(error, path) from error
    if stat.S_ISDIR(found.st_mode) and not recursive:
        raise Problem("is-a-folder", f"{show(path)} is a folder", hint="-r copies folders")
    if follow and not (stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode)):
        raise Problem("not-a-file", f"{show(path)} is neither a file nor a folder")
    return found
