"""--context and --context-name of `create` and `provision`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from machinectl.errors import UsageError


def add_context_flags(parser: Any) -> None:
    """`parser`: an argparse parser or a group of it."""
    parser.add_argument(
        "--context", action="store_true", help="keep an entry of `docker context` for the machine"
    )
    parser.add_argument(
        "--context-name",
        metavar="NAME",
        help="what it is called (default: as the machine); implies --context",
    )


def wanted_contexts(args: argparse.Namespace, names: Sequence[str]) -> dict[str, str]:
    """Machine → name of its context; empty where none was asked for. Raises UsageError."""
    if not (args.context or args.context_name):
        return {}
    if args.context_name and len(names) > 1:
        raise UsageError(
            "--context-name is for one machine",
            why=f"{len(names)} machines are named",
            hint="--context calls each context as its machine",
        )
    return {name: args.context_name or name for name in names}
