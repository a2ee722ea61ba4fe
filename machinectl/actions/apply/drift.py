"""drift: what has been changed on the hosts since the last apply, and what the next one does about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from machinectl.actions.apply.options import ApplyOptions
from machinectl.actions.apply.targets import Target
from machinectl.actions.converge import Surveyed, survey
from machinectl.actions.fleet import Outcome, on_each
from machinectl.errors import MachinectlError
from machinectl.store.store import Store


@dataclass(frozen=True)
class Drift:
    """One machine's."""

    name: str
    found: Surveyed

    @property
    def rows(self) -> list[tuple[Mapping[str, Any], str]]:
        """(what would undo the change, who wins)."""
        wanted = {step["id"]: step for step in self.found.steps}
        return [(step, _verdict(step, wanted.get(step["id"]))) for step in self.found.since]


def _verdict(step: Mapping[str, Any], next_one: Mapping[str, Any] | None) -> str:
    if step.get("owner"):
        return "the host wins: what machinectl has not brought is its owner's"
    if next_one is None:
        return "the host wins: the inventory agrees with it, apply leaves it"
    if next_one.get("diff") == step.get("diff") and next_one["title"] == step["title"]:
        return "the inventory wins: apply puts it back"
    return "the inventory wins, and wants something new: " + str(next_one["title"]).lstrip("+~-! ")


def drift(store: Store, targets: Sequence[Target], options: ApplyOptions) -> list[Outcome[Drift]]:
    """Every machine's, in order. A machine that was never applied has an error."""
    by_name = {one.name: one for one in targets}

    def one(name: str) -> Drift:
        target = by_name[name]
        if target.present is None or target.present.state != "ready":
            raise MachinectlError(
                "it has never been applied", hint="`machinectl apply` makes it a machine first", machine=name
            )
        report = options.report(name)
        last = dataclasses.replace(target.present, pending={})
        try:
            found = survey(
                store,
                target.wanted,
                last=last,
                contents=target.contents,
                become=options.become_for(target),
                report=report,
            )
        finally:
            report.finished()
        return Drift(name, found)

    return on_each(list(by_name), one, parallel=options.parallel)


def stored_targets(store: Store, names: Sequence[str]) -> list[Target]:
    """Without an inventory: what the store says is what is wanted."""
    machines = [store.load(name) for name in names]
    return [Target(one.name, one, one, {}) for one in machines]
