"""What is mounted where, as the kernel tells it (proc_pid_mountinfo(5)); and a removal that goes through no mount."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import List

from machinectl_agent.host import Host
from machinectl_agent.problems import Problem

DEADLINE = 900.0
"""Seconds for a removal: millions of files."""

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


def check_no_mounts(folder: str) -> None:
    """Raises `Problem` `volume-mount-inside`: a folder that goes takes along what is mounted in it."""
    if not folder:
        return
    real = os.path.realpath(folder)
    inside = [one.point for one in mounts() if one.point != real and within(one.point, real)]
    if inside:
        raise Problem(
            "volume-mount-inside",
            f"{inside[0]} is a mount inside {folder}",
            why="what is in it would go with the folder",
            hint=f"`umount {inside[0]}` on the machine first",
        )


def remove_tree(folder: str) -> None:
    """Raises `Problem`. A mount that comes meanwhile is not gone through, either, but for one of the same file
    system."""
    check_no_mounts(folder)
    done = Host().run("rm", "-rf", "--one-file-system", "--", folder, deadline=DEADLINE)
    if not done.ok:
        raise Problem("volume-rm", f"{folder} can't be removed", why=done.tail())


def within(path: str, folder: str) -> bool:
    """Pure: the folder itself, or something below it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _plain(word: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), word)
