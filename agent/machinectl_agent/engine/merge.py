"""daemon.json: what is wanted is merged into what the host has.

Three documents decide: what the host has now, what we did to it last time (the record), what is wanted.
Whatever the host's owner wrote by hand stays, except where a wanted value says otherwise; what we wrote
earlier and is no longer wanted goes, and what it had replaced comes back.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Tuple

from machinectl_agent.engine.options import entry_name
from machinectl_agent.problems import Problem

Document = Dict[str, Any]


def parse_document(name: str, text: str) -> Document:
    """An existing daemon.json. dockerd takes an empty file as no settings. Raises `Problem`."""
    if not text.strip():
        return {}
    try:
        document = json.loads(text)
    except ValueError as error:
        raise Problem(
            "daemon-json-invalid",
            f"{name} is no valid JSON",
            why=str(error),
            hint=f"mend {name} on the host, or move it away, then run the same command again",
        ) from error
    if not isinstance(document, dict):
        raise Problem(
            "daemon-json-invalid",
            f"{name} holds no JSON object",
            why=f"it holds {type(document).__name__}",
            hint=f"mend {name} on the host, or move it away, then run the same command again",
        )
    return document


@dataclass(frozen=True)
class Record:
    """What we did to daemon.json, remembered on the host so that it can be undone."""

    ours: Mapping[str, Any] = field(default_factory=dict)
    """Keys and entries that are there because of us."""
    displaced: Mapping[str, Any] = field(default_factory=dict)
    """The host's own values that ours replaced; they come back when ours are no longer wanted."""
    wishes: Mapping[str, Any] = field(default_factory=dict)
    """Controller → what it wants of the engine (engine/wishes.py)."""


def merge(now: Mapping[str, Any], record: Record, wanted: Mapping[str, Any]) -> Tuple[Document, Record]:
    """Pure and idempotent: merging the result again with the new record changes nothing.

    Lists: wanted entries first (mirrors are tried in order), then the host's own. Objects: by key, the
    same way. Everything else: wanted wins, and the host's own value is kept in the record.
    """
    merged: Document = {}
    ours: Document = {}
    displaced: Document = {}
    for key in [*now, *(key for key in {**record.displaced, **wanted} if key not in now)]:
        mine = wanted.get(key)
        theirs = own_part(key, now, record)
        if mine is None:
            if theirs is not None:
                merged[key] = theirs
            continue
        if isinstance(mine, list) and isinstance(theirs, list):
            names = {entry_name(key, one) for one in mine}
            merged[key] = [*mine, *(one for one in theirs if entry_name(key, one) not in names)]
            ours[key] = [one for one in mine if one not in theirs]
            displaced[key] = [one for one in theirs if entry_name(key, one) in names and one not in mine]
        elif isinstance(mine, dict) and isinstance(theirs, dict):
            merged[key] = {**theirs, **mine}
            ours[key] = {name: one for name, one in mine.items() if theirs.get(name) != one}
            displaced[key] = {name: theirs[name] for name in ours[key] if name in theirs}
        else:
            merged[key] = mine
            if theirs != mine:
                ours[key] = mine
                if theirs is not None:
                    displaced[key] = theirs
    return merged, Record(_filled(ours), _filled(displaced))


def own_part(key: str, now: Mapping[str, Any], record: Record) -> Any:
    """What of a key's value is the host's own, None where nothing is."""
    return _without(now.get(key), record.ours.get(key), record.displaced.get(key))


def _filled(document: Document) -> Document:
    return {key: one for key, one in document.items() if one not in ([], {})}


def _without(value: Any, ours: Any, displaced: Any) -> Any:
    """The host's own part of a value, None where nothing of it is the host's own."""
    if ours is None or value is None:
        return value if value is not None else displaced
    if isinstance(value, list) and isinstance(ours, list):
        entries = displaced if isinstance(displaced, list) else []
        return [
            *(one for one in value if one not in ours),
            *(one for one in entries if one not in value),
        ] or None
    if isinstance(value, dict) and isinstance(ours, dict):
        own = {key: one for key, one in value.items() if ours.get(key) != one}
        before = displaced if isinstance(displaced, dict) else {}
        return {**{key: one for key, one in before.items() if key in value and key not in own}, **own} or None
    return displaced if value == ours else value


def render_document(document: Mapping[str, Any]) -> str:
    """As it is written: four spaces (Docker's own examples), a newline at the end, the keys' order kept."""
    return json.dumps(document, indent=4, ensure_ascii=False) + "\n"


def changed_keys(before: Mapping[str, Any], after: Mapping[str, Any]) -> List[str]:
    """Keys whose values differ, sorted."""
    return sorted(key for key in {*before, *after} if before.get(key) != after.get(key))
