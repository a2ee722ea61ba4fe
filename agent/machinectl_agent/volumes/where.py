"""Which data a folder is, whatever it is called: one folder under two names is found, and one inside another.

The number of the boot tells one kernel from another: a machine-id is the same on machines that were cloned, and the
same kernel's device and inode numbers are of the same folder.
"""

from __future__ import annotations

import os
import posixpath
from pathlib import Path
from typing import Any, Dict, List, Mapping

from machinectl_agent.volumes.mounts import Mount, mounts, within

BOOT = "/proc/sys/kernel/random/boot_id"


def where(folder: str) -> Dict[str, Any]:
    """boot; folders: device and inode of the folder (empty: it is not there yet) and of all that it is in; device and
    path: where in its file system it is, which a bind mount of another part of that does not hide."""
    real = os.path.realpath(folder)
    around = [one for one in mounts() if within(real, one.point)]
    # the last one of those at the same place is what is seen there; in a chroot there may be none
    seen = max(reversed(around), key=lambda one: len(one.point), default=Mount("", "/", "/"))
    return {
        "boot": Path(BOOT).read_text().strip(),
        "folders": [_identity(one) for one in _upwards(real)],
        "device": seen.device,
        "path": posixpath.normpath(posixpath.join(seen.root, posixpath.relpath(real, seen.point))),
    }


def overlap(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Pure: how two of `where` share data, for people; empty where they don't."""
    if one["boot"] != other["boot"]:
        return ""
    if one["folders"][0] and one["folders"][0] == other["folders"][0]:
        return "are the same data"
    if one["device"] == other["device"] and one["path"] == other["path"]:
        return "are the same data"
    for inner, outer in ((one, other), (other, one)):
        mine = outer["folders"][0]
        same = inner["device"] == outer["device"] and within(inner["path"], outer["path"])
        if same or (mine and mine in inner["folders"]):
            return "are one inside the other"
    return ""


def _upwards(path: str) -> List[str]:
    return [path] if path == "/" else [path, *_upwards(posixpath.dirname(path))]


def _identity(path: str) -> str:
    try:
        about = os.stat(path)  # noqa: PTH116
    except FileNotFoundError:
        return ""
    return f"{about.st_dev}:{about.st_ino}"
