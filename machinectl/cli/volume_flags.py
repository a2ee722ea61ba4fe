"""The flags of `machinectl volume`'s verbs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from machinectl.cli.network_flags import add_verb
from machinectl.errors import UsageError

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]

VERBS = ("ls", "create", "inspect", "rm")

VOLUME = "MACHINE:VOLUME"


def add_verbs(verbs: Verbs) -> None:
    _add_ls(verbs)
    _add_create(verbs)
    shown = add_verb(verbs, "inspect", "all about volumes and the containers that have them, as JSON")
    shown.add_argument("volumes", nargs="+", metavar=VOLUME)
    shown.add_argument("--size", action="store_true", help="add up what is in them")
    gone = add_verb(verbs, "rm", "remove volumes; refused while a container has them, even a stopped one")
    gone.add_argument("volumes", nargs="+", metavar=VOLUME)
    gone.add_argument("-f", "--force", action="store_true", help="no error where there is none")
    gone.add_argument(
        "--yes", action="store_true", help="remove folders (MACHINE:/path) with all in them, too"
    )


def _add_ls(verbs: Verbs) -> None:
    listing = add_verb(verbs, "ls", "the volumes of machines, and which containers have them")
    listing.add_argument(
        "patterns", nargs="*", metavar="PATTERN", help="machines by name, as `web*` (default: all of them)"
    )
    listing.add_argument("-q", "--quiet", dest="names_only", action="store_true", help="names only")
    listing.add_argument("--size", action="store_true", help="add up what is in them")
    listing.add_argument("--output", choices=("table", "json"), default="table")


def _add_create(verbs: Verbs) -> None:
    create = add_verb(verbs, "create", "make a volume; one that is there as wished stays as it is")
    create.add_argument("volume", metavar=VOLUME)
    create.add_argument("-d", "--driver", default="local", metavar="DRIVER", help="default: local")
    create.add_argument("-o", "--opt", action="append", default=[], metavar="KEY=VALUE", help="of the driver")
    create.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="as Docker's")


def pairs(words: Sequence[str], flag: str) -> dict[str, str]:
    """KEY=VALUE words as a map; a label may have no value. Raises `UsageError`."""
    found: dict[str, str] = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not key or (not sign and flag != "--label"):
            raise UsageError(f"{flag} {word!r}: KEY=VALUE is wanted")
        found[key] = value
    return found
