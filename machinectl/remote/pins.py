"""Pinned host keys follow a host to another address: the key is what tells it, not where it is."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from machinectl.atomic import write_atomic
from machinectl.errors import StoreError
from machinectl.remote.hostkeys import Entry, parse_known_hosts


@dataclass(frozen=True)
class Moved:
    """What `copy_pins` did, for `undo`: lines of known_hosts."""

    added: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()


def copy_pins(file: Path, old: str, new: str) -> Moved:
    """The keys of `old` become those of `new`, in place of what was known of `new`; both are names as known_hosts
    has them. Nothing where `old` has none or they are the same. Raises `StoreError`."""
    with _locked(file):
        lines = _lines(file)
        entries = _by_line(file, lines)
        keys = [one.key for one in entries.values() if old in one.names]
        if not keys or old == new:
            return Moved()
        added = tuple(f"{new} {key.kind} {base64.b64encode(key.blob).decode()}" for key in keys)
        replaced = tuple(
            line
            for number, line in enumerate(lines, 1)
            if number in entries and entries[number].names == (new,)
        )
        if set(added) == set(replaced):
            return Moved()
        _write(file, [*(line for line in lines if line not in replaced), *added])
        return Moved(added, replaced)


def undo(file: Path, moved: Moved) -> None:
    """As it was before `copy_pins`. Raises `StoreError`."""
    if moved.added:
        with _locked(file):
            _write(file, [*(line for line in _lines(file) if line not in moved.added), *moved.replaced])


def drop_pins(file: Path, name: str) -> None:
    """Nothing is known of `name` any more. Raises `StoreError`."""
    with _locked(file):
        lines = _lines(file)
        entries = _by_line(file, lines)
        kept = [
            line
            for number, line in enumerate(lines, 1)
            if number not in entries or entries[number].names != (name,)
        ]
        if kept != lines:
            _write(file, kept)


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def _by_line(file: Path, lines: list[str]) -> dict[int, Entry]:
    """Unmarked entries by their line's number, from 1 on."""
    found = parse_known_hosts("\n".join(lines), file)
    return {one.line: one for one in found if not one.marker}


def _write(file: Path, lines: list[str]) -> None:
    write_atomic(file, "".join(f"{line}\n" for line in lines).encode(), 0o600)


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    """The lock of remote/hostkeys.py."""
    try:
        descriptor = os.open(f"{file}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"{file} can't be locked", why=error.strerror or str(error)) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # held for one small write
        yield
    finally:
        os.close(descriptor)
