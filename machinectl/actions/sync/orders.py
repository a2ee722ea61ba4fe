"""What a target is told to do before files come and after that, in parts that fit into messages. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from machinectl.actions.sync.compare import Plan, Side
from machinectl_agent.files.sync.listing import KIND, LINK, MODE, OWNER, TIME

LARGEST = 4 * 1024 * 1024
"""Bytes of what is in one message, which may have 16 MiB; the answer is about what was asked."""

AT_ONCE = 50_000
"""Nor more than these: a checksum is longer than a short name."""

Item = TypeVar("Item")


def before(plan: Plan, source: Side) -> list[list[str]]:
    """The steps of the op `prepare`."""
    return [
        *(["clear", one] for one in plan.clear),
        *(["folder", one] for one in plan.folders),
        *(["link", one, str(source[one][LINK])] for one in plan.links),
    ]


def after(plan: Plan, source: Side) -> list[list[Any]]:
    """The steps of the op `settle`. Of all folders, as what came into them has changed their times; the deepest
    first."""
    touched = set(plan.update) | set(plan.links)
    chosen = [one for one in touched if source[one][KIND] != "d"]
    folders = sorted((one for one in source if source[one][KIND] == "d"), reverse=True)
    return [
        *(["delete", one] for one in plan.delete),
        *(["set", *with_attributes(one, source)] for one in (*chosen, *folders)),
    ]


def with_attributes(path: str, source: Side) -> list[Any]:
    entry = source[path]
    return [path, entry[MODE], entry[TIME], entry[OWNER]]


def in_parts(items: Sequence[Item]) -> Iterator[list[Item]]:
    """In their order; by the size that they have in a message, where a letter may need six. An empty part for none:
    there may be more in a message."""
    for start in range(0, max(len(items), 1), AT_ONCE):
        yield from _halved(items[start : start + AT_ONCE])


def _halved(items: Sequence[Item]) -> Iterator[list[Item]]:
    if len(items) > 1 and len(json.dumps(items)) > LARGEST:
        middle = len(items) // 2
        yield from _halved(items[:middle])
        yield from _halved(items[middle:])
    else:
        yield list(items)
