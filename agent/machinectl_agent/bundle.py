"""The folder that this agent runs from. On a host its name is the hash of what is in it."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

ROOT = "/opt/machinectl/agent"
"""A bundle is ROOT/HASH; ROOT/current is a link to the one that the service starts with."""

CURRENT = f"{ROOT}/current"

# asked for once, at the first import: `current` may point elsewhere a moment later
_FOLDER = Path(__file__).resolve().parents[1]


def own_folder() -> Path:
    """ROOT/HASH itself, never `current`; in a checkout the folder agent/."""
    return _FOLDER


def own_hash() -> str:
    """32 hexadecimal digits; empty in a checkout."""
    return _FOLDER.name if re.fullmatch(r"[0-9a-f]{32}", _FOLDER.name) else ""


def leave_link(verb: str) -> None:
    """Starts this process over from ROOT/HASH where it was started as ROOT/current.

    Python looks modules up below the path that it was started with: after an upgrade a module that is
    imported late would be the next bundle's. The pid stays the same.
    """
    started_as = sys.argv[0]
    if os.path.islink(started_as) and os.path.realpath(started_as) == str(_FOLDER):  # noqa: PTH114 - strings
        os.execv(sys.executable, [sys.executable, "-I", str(_FOLDER), verb])  # noqa: S606 - ourselves, no shell
