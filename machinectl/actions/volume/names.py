"""`MACHINE:VOLUME` and `MACHINE:/path`, as the command line has them. Pure."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

from machinectl.errors import UsageError

VOLUME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
"""Docker's rule."""


@dataclass(frozen=True)
class VolumeName:
    """A named volume or a folder of one machine."""

    machine: str
    name: str

    @property
    def is_path(self) -> bool:
        return self.name.startswith("/")

    def __str__(self) -> str:
        return f"{self.machine}:{self.name}"


def parse_volume(text: str) -> VolumeName:
    """Raises `UsageError`."""
    machine, sign, name = text.partition(":")
    if not (sign and machine and name):
        raise UsageError(
            f"{text!r} names no volume of a machine",
            hint="write MACHINE:VOLUME, or MACHINE:/path for a folder",
        )
    if name.startswith("/"):
        if posixpath.normpath(name) != name or "\0" in name:
            raise UsageError(
                f"{text!r}: no plain absolute path", hint=f"{machine}:{posixpath.normpath(name)}"
            )
    elif not VOLUME.fullmatch(name):
        raise UsageError(
            f"{text!r}: {name!r} is no name of a volume",
            why="allowed are letters, digits, _, . and -, the first one a letter or digit",
        )
    return VolumeName(machine, name)
