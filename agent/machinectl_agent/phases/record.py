"""What we have brought onto the host besides Docker: files, kernel settings, packages. With it they can go again.

An entry is written before the thing itself is changed and forgotten after it is as it was: a crash in between
leaves an entry too many, never one too few.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Dict, Mapping, Optional, Tuple

from machinectl_agent.host import Host

RECORD = "/var/lib/machinectl/host.json"
ORIGINALS = "/var/lib/machinectl/originals"
"""Copies of the host's own files that ours have replaced."""


@dataclass(frozen=True)
class FileEntry:
    """A file of ours."""

    controller: str
    restart: str = ""
    original: str = ""
    """Name of the host's own file in `ORIGINALS`; empty: there was none."""
    mode: int = 0
    owner: Tuple[int, int] = (0, 0)
    """Of the host's own file."""


@dataclass(frozen=True)
class SettingEntry:
    """A kernel setting of ours."""

    controller: str
    before: str
    """The value that it had."""


@dataclass(frozen=True)
class Record:
    """Everything that is ours on this host, by whichever controller."""

    files: Mapping[str, FileEntry] = field(default_factory=dict)
    sysctl: Mapping[str, SettingEntry] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    """Package → controller; only those that were not there before."""
    restarts: Tuple[str, ...] = ()
    """Units whose files have changed, or are about to, and that have not been restarted since."""


def read_record(host: Host) -> Record:
    """An empty one where there is none. A torn one can't be: it is written atomically."""
    text = host.read(RECORD)
    if text is None:
        return Record()
    document = json.loads(text)
    return Record(
        {path: _file(one) for path, one in document["files"].items()},
        {name: SettingEntry(**one) for name, one in document["sysctl"].items()},
        dict(document["packages"]),
        tuple(document["restarts"]),
    )


def write_record(host: Host, record: Record) -> None:
    host.make_folder(RECORD.rpartition("/")[0], 0o700)
    host.write(RECORD, json.dumps(asdict(record), indent=1, sort_keys=True) + "\n", 0o600)


def change_record(host: Host, part: str, name: str, entry: Optional[Any]) -> None:
    """Sets one entry of `files`, `sysctl` or `packages`, or forgets it where `entry` is None."""
    record = read_record(host)
    entries: Dict[str, Any] = {**getattr(record, part), name: entry}
    if entry is None:
        del entries[name]
    if entries != dict(getattr(record, part)):
        write_record(host, Record(**{**vars(record), part: entries}))


def await_restart(host: Host, unit: str) -> None:
    """From now on the unit is to be restarted, by whichever run comes that far."""
    record = read_record(host)
    if unit and unit not in record.restarts:
        write_record(host, replace(record, restarts=(*record.restarts, unit)))


def restarted(host: Host, unit: str) -> None:
    record = read_record(host)
    write_record(host, replace(record, restarts=tuple(one for one in record.restarts if one != unit)))


def _file(document: Mapping[str, Any]) -> FileEntry:
    return FileEntry(**{**document, "owner": tuple(document["owner"])})
