"""Whether a listing can be one: it comes from a machine, and what it names is written elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from machinectl.errors import AgentFailed
from machinectl_agent.files.sync.listing import KIND, MODE, PATH, TIME, Entry, split_source

_SHAPE = (str, str, int, int, int, str, str)
_LATEST = 1 << 63
"""Nanoseconds since 1970, either way; no file system has more."""


def check_entries(source: str, entries: Iterable[Entry]) -> None:
    """Below its source, each path behind the folder that it is in. Raises AgentFailed."""
    first = split_source(source)[1]
    folders = set() if first else {""}
    for entry in entries:
        if not isinstance(entry, list) or tuple(map(type, entry)) != _SHAPE:
            raise refused(source, f"{entry!r:.200} is no entry of a listing")
        path, kind = entry[PATH], entry[KIND]
        folder, slash, name = path.rpartition("/")
        if path == "." and not first:
            known = kind == "d"
        elif first and path == first:
            known = True
        else:
            known = folder in folders and bool(folder) == bool(slash) and name not in ("", ".", "..")
        if not known or "\0" in path:
            raise refused(source, f"{path!r} is in none of its folders")
        if kind not in ("f", "d", "l", "o") or not (
            0 <= entry[MODE] <= 0o7777 and abs(entry[TIME]) < _LATEST
        ):
            raise refused(source, f"{path!r} has attributes that no file has")
        if kind == "d" and path != ".":
            folders.add(path)


def refused(source: str, why: str) -> AgentFailed:
    return AgentFailed(
        f"what the machine says of {source} can't be",
        why=why,
        hint="run the sync again; if it is the same, look who has changed the agent on that machine",
        problem="listing-refused",
    )
