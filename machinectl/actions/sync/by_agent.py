"""One machine's sync by listings and checksums, where rsync can't: whole files travel, those that differ.

list both sides ─► compare; checksums of what is in doubt ─► make room, folders, links ─► carry files ─► delete, times
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from machinectl.actions.carry import LocalSink, LocalSource, carry
from machinectl.actions.sync.compare import Side, compare, merge, settle_unsure
from machinectl.actions.sync.ends import End, digests, list_side
from machinectl.actions.sync.orders import after, before, in_parts, with_attributes
from machinectl.actions.sync.result import Synced
from machinectl.remote.become import Become
from machinectl.remote.deadline import Deadline
from machinectl.remote.rsync import Wish
from machinectl.sizes import human
from machinectl.store.store import Store
from machinectl_agent.files.sync.listing import KIND, split_source


class Origin:
    """The sources, listed once for all targets."""

    def __init__(self, end: End, sources: Sequence[str], wish: Wish) -> None:
        self.end = end
        self.sources = list(sources)
        self._wish = wish
        self._guard = threading.Lock()
        self._listed: tuple[dict[str, list[object]], dict[str, int]] | None = None
        self._digests: dict[str, str] = {}

    def listed(self, clock: Deadline) -> tuple[Side, dict[str, int]]:
        with self._guard:
            if self._listed is None:
                exclude = self._wish.exclude
                self._listed = merge(
                    list_side(self.end, self.sources, exclude, missing=False, within=clock.left())
                )
            return self._listed

    def digests(self, paths: Sequence[str], clock: Deadline) -> dict[str, str]:
        _, number_of = self.listed(clock)
        with self._guard:
            for number, source in enumerate(self.sources):
                wanted = [one for one in paths if number_of[one] == number and one not in self._digests]
                if wanted:
                    found = digests(self.end, split_source(source)[0], wanted, clock)
                    self._digests.update(zip(wanted, found, strict=True))
            return {one: self._digests[one] for one in paths}


def sync_by_agent(
    store: Store,
    origin: Origin,
    end: End,
    path: str,
    wish: Wish,
    *,
    become: Become,
    within: float,
    report: Callable[[str], None],
) -> Synced:
    """Raises `MachinectlError`. `within` seconds for all of it."""
    began = time.monotonic()
    clock = Deadline(within)
    report("listing")
    folder = f"{path.rstrip('/')}/" if path else "./"
    source, number_of = origin.listed(clock)
    # only where something comes: what is beside it in the target is nobody's to delete
    meant = [folder + split_source(one)[1] for one in origin.sources]
    there = list_side(end, list(dict.fromkeys(meant)), wish.exclude, missing=True, within=clock.left())
    target, _ = merge(there)
    plan = compare(source, target, wish)
    if plan.unsure:
        report(f"comparing {len(plan.unsure)} files")
        ours, theirs = origin.digests(plan.unsure, clock), digests(end, folder, plan.unsure, clock)
        equal = {
            one: bool(ours[one]) and ours[one] == its for one, its in zip(plan.unsure, theirs, strict=True)
        }
        plan = settle_unsure(plan, source, target, equal, wish)
    files = sum(1 for entry in source.values() if entry[KIND] == "f")
    warnings = [f"{len(plan.skipped)} devices, sockets or FIFOs were left out"] if plan.skipped else []
    if wish.dry_run or (plan.empty and target):
        changes = plan.changes(source, target) if wish.dry_run else ()
        spent = time.monotonic() - began
        return Synced(
            "agent", files, len(plan.send), 0, len(plan.gone) + len(plan.delete), spent, changes, *warnings
        )
    # with --delete a folder goes when the file that replaces it is there, and not before
    way = {"target": folder, "delete": wish.delete, "exclude": wish.exclude}
    for steps in in_parts(before(plan, source)):
        end.ask("prepare", {**way, "steps": steps}, clock.left())
    sent = travelled = 0
    for part in in_parts([with_attributes(one, source) for one in plan.send]) if plan.send else ():
        entries = [[number_of[one], one] for one, *_ in part]
        producer = origin.end.producer({"sources": origin.sources, "entries": entries})
        consumer = end.consumer({**way, "files": part, "owners": wish.archive})
        assert not (isinstance(producer, LocalSource) and isinstance(consumer, LocalSink))
        so_far = travelled
        done = carry(
            store,
            producer,
            consumer,
            become=become,
            progress=lambda count, so_far=so_far: report(human(so_far + count)),  # type: ignore[misc]
            limit_rate=wish.limit_rate,
            compress=wish.compress,
            within=clock.left(),
        )
        travelled += done.bytes
        sent += int(done.destination["files"])
        if changed := [*done.destination["changed"], *done.source["vanished"]]:
            warnings.append(f"{len(changed)} files changed or vanished while they were read: sync again")
    report("times and modes")
    deleted, kept = len(plan.gone), 0
    for number, after_steps in enumerate(in_parts(after(plan, source))):
        how = {"target": folder, "owners": wish.archive, "sweep": not number}
        settled, _ = end.ask("settle", {**how, "steps": after_steps}, clock.left())
        deleted += int(settled["deleted"])
        kept += int(settled["kept"])
    if kept:
        warnings.append(f"{kept} folders were not empty and stay")
    spent = time.monotonic() - began
    return Synced("agent", files, sent, travelled, deleted, spent, warning="; ".join(warnings))
