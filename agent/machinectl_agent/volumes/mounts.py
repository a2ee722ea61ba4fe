"""What is mounted where, as the kernel tells it (proc_pid_mountinfo(5))."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import List

MOUNTINFO = "/proc/self/mountinfo"


@dataclass(frozen=True)
class Mount:
    """One line."""

    device: str
    """Major and minor number of the file system."""
    root: str
    """The folder of the file system that is seen."""
    point: str
    """Where it is seen."""


def mounts() -> List[Mount]:
    return parse_mounts(Path(MOUNTINFO).read_text(errors="surrogateescape"))


def parse_mounts(text: str) -> List[Mount]:
    """Pure; in the order in which they were made: the last one at a place is what is seen there."""
    found = []
    for line in text.splitlines():
        words = line.split(" ")
        found.append(Mount(words[2], _plain(words[3]), _plain(words[4])))
    return found


def within(path: str, folder: str) -> bool:
    """Pure: the folder itself, or something below it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _plain(word: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), word)
