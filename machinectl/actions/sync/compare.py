"""What differs between two listings, as a plan. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from machinectl.remote.rsync import Wish
from machinectl.remote.rsync_output import Change
from machinectl_agent.files.sync.listing import KIND, LINK, MODE, OWNER, PATH, SIZE, TIME, Entry

Side = Mapping[str, Entry]
"""Entries by their paths."""


@dataclass(frozen=True)
class Plan:
    """What a target must be told. Paths, folders before what is in them."""

    clear: list[str] = field(default_factory=list)
    """In the way, and gone before anything comes: what is a folder in the source, and empty folders."""
    gone: list[str] = field(default_factory=list)
    """In folders that a file or a link of the source replaces: gone with them, when that is there as a whole."""
    folders: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    send: list[str] = field(default_factory=list)
    update: list[str] = field(default_factory=list)
    """Mode, time or owner differ."""
    unsure: list[str] = field(default_factory=list)
    """Files of the same size whose checksums must tell."""
    delete: list[str] = field(default_factory=list)
    """What is in a folder before the folder."""
    skipped: list[str] = field(default_factory=list)
    """Devices, sockets, FIFOs of the source."""

    def changes(self, source: Side, target: Side) -> tuple[Change, ...]:
        """As a dry run lists them, and as rsync would. Deletions first, then by path."""
        rest = [
            *(Change("create", _shown(one, source)) for one in (*self.folders, *self.links)),
            *(Change("send", one) for one in self.send),
            *(Change("update", _shown(one, source)) for one in self.update),
        ]
        return (
            *(Change("delete", _shown(one, target)) for one in (*self.gone, *self.delete)),
            *sorted(rest, key=lambda change: change.path),
        )

    @property
    def empty(self) -> bool:
        return not (self.clear or self.folders or self.links or self.send or self.update or self.delete)


def merge(listings: Iterable[Sequence[Entry]]) -> tuple[dict[str, Entry], dict[str, int]]:
    """One side of several sources: the first that has a path is its source, but a folder comes before all else, as
    there may be something in it. Also: which source that is."""
    side: dict[str, Entry] = {}
    number_of: dict[str, int] = {}
    for number, entries in enumerate(listings):
        for entry in entries:
            known = side.get(entry[PATH])
            if known is None or (entry[KIND] == "d" and known[KIND] != "d"):
                side[entry[PATH]] = entry
                number_of[entry[PATH]] = number
    return side, number_of


def compare(source: Side, target: Side, wish: Wish) -> Plan:
    """By size and time; the same size at another time is `unsure`, as are all with `checksum`.

    A file or link takes the place of another one, or of a folder that --delete empties, when it is there as a whole.
    """
    plan = Plan()
    replaced = set()
    for path, entry in source.items():
        there = target.get(path)
        if entry[KIND] == "o":
            plan.skipped.append(path)
        elif there is not None and there[KIND] != entry[KIND]:
            if there[KIND] == "d" and wish.delete:
                replaced.add(path)
            elif "d" in (there[KIND], entry[KIND]):
                plan.clear.append(path)
            _new(plan, path, entry)
        elif there is None:
            _new(plan, path, entry)
        elif entry[KIND] == "l" and entry[LINK] != there[LINK]:
            plan.links.append(path)
        elif entry[KIND] == "f" and entry[SIZE] != there[SIZE]:
            plan.send.append(path)
        elif entry[KIND] == "f" and (wish.checksum or entry[TIME] != there[TIME]):
            plan.unsure.append(path)
        elif _differs(entry, there, wish):
            plan.update.append(path)
    if wish.delete:
        plan.gone.extend(_below(replaced, target))
        plan.delete.extend(_surplus(source, target, set(plan.gone)))
    return plan


def settle_unsure(plan: Plan, source: Side, target: Side, equal: Mapping[str, bool], wish: Wish) -> Plan:
    """The plan once the checksums are known."""
    send = [*plan.send, *(path for path in plan.unsure if not equal[path])]
    same = [path for path in plan.unsure if equal[path] and _differs(source[path], target[path], wish)]
    return replace(plan, send=send, update=[*plan.update, *same], unsure=[])


def _shown(path: str, side: Side) -> str:
    return f"{path}/" if side[path][KIND] == "d" else path


def _new(plan: Plan, path: str, entry: Entry) -> None:
    {"d": plan.folders, "l": plan.links, "f": plan.send}[entry[KIND]].append(path)


def _differs(entry: Entry, there: Entry, wish: Wish) -> bool:
    if entry[KIND] == "l":
        return wish.archive and entry[OWNER] != there[OWNER]
    return bool(
        entry[MODE] != there[MODE]
        or entry[TIME] != there[TIME]
        or (wish.archive and entry[OWNER] != there[OWNER])
    )


def _below(folders: set[str], side: Side) -> list[str]:
    """All that is in them; a listing has folders before what is in them. What is in a folder before the folder."""
    inside = set(folders)
    for path in side if folders else ():
        if path.rpartition("/")[0] in inside:
            inside.add(path)
    return sorted(inside - folders, reverse=True)


def _surplus(source: Side, target: Side, gone: set[str]) -> list[str]:
    return sorted((path for path in target if path not in source and path not in gone), reverse=True)
