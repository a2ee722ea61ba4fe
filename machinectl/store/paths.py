"""Paths in records, such that a store works wherever it is moved or copied to."""

from __future__ import annotations

import os
from pathlib import Path


def portable_path(given: str, store: Path) -> str:
    """How a path that the user gave (relative to where they stand) is recorded.

    Inside the store: relative to it. Below the home folder: with `~`, so that another user or another home of
    the same user finds their own. Else absolute. Symbolic links are left as they are: the user meant them.
    """
    if not given or given.startswith("~"):
        return given
    path = Path(os.path.abspath(given))  # noqa: PTH100 - Path.absolute keeps `..`, resolve follows links
    for base, prefix in ((store, ""), (Path.home(), "~/")):
        if path.is_relative_to(base):
            return prefix + str(path.relative_to(base))
    return str(path)


def resolved_path(recorded: str, store: Path) -> str:
    """The reverse: absolute, `~` expanded; empty stays empty."""
    return str(store / Path(recorded).expanduser()) if recorded else ""
