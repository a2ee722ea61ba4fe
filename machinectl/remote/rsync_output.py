"""What rsync says: progress, what it would do, its statistics, and what its exit status means. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_PROGRESS = re.compile(r"\s*([\d,]+)\s+(\d+)%\s+(\S+)\s")
_ESCAPE = re.compile(rb"\\#([0-7]{3})")

STATUS: dict[int, tuple[str, str]] = {
    # rsync(1), EXIT VALUES: what it means, what to try
    2: ("the two rsync programs don't understand each other", "use --way agent, or a newer rsync there"),
    3: ("a source or the target can't be selected", "do the folders exist, and above the target, too?"),
    5: ("the machine's rsync did not start as it should", "what does the machine's login shell print?"),
    10: ("the connection broke", "run it again: only what is missing is sent"),
    11: ("a file can't be read or written", "look at rights and room: `df -h` on the machine"),
    12: ("the connection broke, or the other rsync ended", "run it again: only what is missing is sent"),
    20: ("it was interrupted", "run it again: only what is missing is sent"),
    23: ("not all could be carried over", "mend what the lines above say, and run it again"),
    30: ("nothing came for too long", "run it again: only what is missing is sent"),
    127: ("there is no rsync on the machine", "use --way agent, or install rsync there"),
    255: ("SSH failed", "`machinectl ssh NAME` must work without a question"),
}

VANISHED = 24
"""Files that were there when the folder was listed have gone since: nothing that must be mended."""


@dataclass(frozen=True)
class Change:
    """One thing that a sync does, or would do."""

    verb: str
    """send, create (folders, links), update (mode, times), delete."""
    path: str


@dataclass(frozen=True)
class Counted:
    """rsync's statistics as far as they are ours."""

    files: int
    sent: int
    bytes: int
    """Over the wire, in the direction of the files; names and checksums are in it."""
    deleted: int


@dataclass(frozen=True)
class Progress:
    """How far it is."""

    done: int
    """Bytes of files, looked at or sent."""
    percent: int
    rate: str
    """As rsync writes it: 1.23MB/s."""

    def __str__(self) -> str:
        return f"{self.percent}% {self.rate}"


def parse_progress(line: str) -> Progress | None:
    """A line of --info=progress2; None for another one."""
    found = _PROGRESS.match(line)
    return Progress(int(found[1].replace(",", "")), int(found[2]), found[3]) if found else None


def parse_change(line: str) -> Change | None:
    """A line of `--out-format='%i %n'`; None where it is no such line."""
    if line.startswith("*deleting "):
        return Change("delete", _name(line[10:].lstrip()))
    if len(line) < 13 or line[11] != " " or line[0] not in "<>ch.":
        return None
    name = _name(line[12:])
    if line[0] in "<>":
        return Change("send", name)
    return Change("create" if line[0] in "ch" else "update", name)


def parse_stats(lines: Iterable[str], *, push: bool) -> Counted:
    """From --stats with --no-human-readable. What an older rsync does not say is 0."""
    found: dict[str, int] = {}
    for line in lines:
        key, colon, value = line.partition(":")
        digits = re.match(r"\s*(\d+)", value)
        if colon and digits:
            found[key.strip().lower()] = int(digits[1])
            if regular := re.search(r"\(reg: (\d+)", value):
                found[f"{key.strip().lower()} (reg)"] = int(regular[1])
    return Counted(
        files=found.get("number of files (reg)", 0),
        sent=found.get("number of regular files transferred", 0),
        bytes=found.get("total bytes sent" if push else "total bytes received", 0),
        deleted=found.get("number of deleted files", 0),
    )


def _name(text: str) -> str:
    """rsync writes what is not printable as \\#ooo."""
    raw = text.encode("utf-8", "surrogateescape")
    return _ESCAPE.sub(lambda one: bytes([int(one[1], 8)]), raw).decode("utf-8", "surrogateescape")
