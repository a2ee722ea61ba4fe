"""Whether two paths, maybe on two hosts, are one file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, List, Sequence, Tuple

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def host_identity() -> str:
    """The running kernel: containers on it share its devices' numbers and its inodes'."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return f"{os.uname().nodename} {os.uname().sysname}"


def identities_above(path: bytes) -> List[Tuple[int, int]]:
    """Of the folder and of every one that it is in."""
    found = []
    here = os.path.realpath(path)
    while True:
        try:
            one = os.stat(here)
            found.append((one.st_dev, one.st_ino))
        except OSError:
            pass  # it is yet to be made
        if here == b"/":
            return found
        here = os.path.dirname(here)


def is_one(path: bytes, identity: Sequence[Any]) -> bool:
    try:
        found = os.stat(path)
    except OSError:
        return False
    return [found.st_dev, found.st_ino] == list(identity)
