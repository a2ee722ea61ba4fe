"""What is to be undone on this machine: containers that a copy has paused or stopped. It survives every death.

A record is written before the first container is touched. Its keeper has the lock beside it, which the kernel frees
when the keeper dies: a record whose lock is free is undone by whoever comes next (the agent's daemon looks every 5 s,
and every run that has to do with volumes).
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Set, TextIO, Tuple

FOLDER = "/var/lib/machinectl/holds"

PAUSED, STOPPED = "paused", "stopped"


@dataclass(frozen=True)
class Record:
    """Containers in the order in which they are to go on."""

    action: str
    """`paused` or `stopped`."""
    containers: Tuple[Tuple[str, str], ...]
    """Id and name."""
    place: str
    """The volume or folder, for people."""


def read(path: Path) -> Optional[Record]:
    """None where it is gone, or was torn by a disk that was full."""
    try:
        found = json.loads(path.read_text())
        containers = tuple((str(one[0]), str(one[1])) for one in found["containers"])
        return Record(str(found["action"]), containers, str(found["place"]))
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def write(path: Path, record: Record) -> None:
    """Durable when it returns: a power cut must not lose it."""
    text = {"action": record.action, "containers": record.containers, "place": record.place}
    with path.open("w") as stream:
        json.dump(text, stream)
        stream.flush()
        os.fsync(stream.fileno())
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def lock(path: Path, *, wait: bool = False) -> Optional[TextIO]:
    """The open file, whose closing frees the lock; None where somebody else has it."""
    path.parent.mkdir(0o700, parents=True, exist_ok=True)
    while True:
        stream = path.open("a")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            stream.close()
            return None
        # its last holder may have removed the file between our open and our lock
        if path.exists() and os.fstat(stream.fileno()).st_ino == path.stat().st_ino:
            return stream
        stream.close()


def held(folder: str = FOLDER) -> Set[str]:
    """Ids of all containers that copies have paused or stopped now."""
    found = [read(path) for path in left_behind(folder)]
    return {identity for one in found if one for identity, _ in one.containers}


def left_behind(folder: str = FOLDER) -> List[Path]:
    """Records, whether their keepers live or not."""
    try:
        return sorted(Path(folder, name) for name in os.listdir(folder) if name.endswith(".json"))  # noqa: PTH208
    except FileNotFoundError:
        return []
