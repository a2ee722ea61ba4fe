"""The plan for many machines: data, its counts, its text, its JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from machinectl.actions.apply.targets import Target
from machinectl.actions.converge import Surveyed
from machinectl.errors import MachinectlError


@dataclass(frozen=True)
class MachinePlan:
    """What would happen to one machine, or why nobody knows."""

    target: Target
    plan: Surveyed = field(default_factory=lambda: Surveyed(()))
    later: tuple[str, ...] = ()
    """What only comes after another machine's turn: `+ join the networks, once there is etcd`."""
    error: MachinectlError | None = None

    @property
    def changes(self) -> int:
        return len(self.plan.steps) + len(self.later)

    @property
    def pending(self) -> bool:
        """There is something to do, on the host or in what we remember of it."""
        return bool(self.changes) or self.error is not None or remembers_other(self.target)


@dataclass(frozen=True)
class FleetPlan:
    """Everything that an apply would do."""

    machines: Sequence[MachinePlan]
    cluster: Sequence[str] = ()
    """What happens to the etcd cluster, a title per step."""
    left: Sequence[str] = ()
    """Machines that are no longer in the inventory."""
    prune: bool = False

    @property
    def errors(self) -> list[MachinectlError]:
        return [one.error for one in self.machines if one.error]

    @property
    def changes(self) -> int:
        gone = len(self.left) if self.prune else 0
        return sum(one.changes for one in self.machines) + len(self.cluster) + gone

    @property
    def empty(self) -> bool:
        """Nothing to do on any host. What the store would only remember otherwise is no change."""
        return not self.changes and not self.errors

    def footer(self) -> str:
        """`3 machines: 5 to change, 0 to restart the engine, 12 unchanged`."""
        restarts = sum(one.plan.restarts for one in self.machines)
        unchanged = sum(len(one.plan.unchanged) for one in self.machines)
        count = len(self.machines)
        text = f"{count} machine{'' if count == 1 else 's'}: {self.changes} to change, "
        text += f"{restarts} to restart the engine, {unchanged} unchanged"
        return text + (f", {len(self.errors)} not known" if self.errors else "")

    def render(self, *, diff: bool) -> str:
        """For people. Machines with nothing to do are only counted."""
        lines: list[str] = []
        for one in self.machines:
            lines.extend(_render(one, diff=diff))
        if self.cluster:
            lines += ["etcd", *(f"  {title}" for title in self.cluster)]
        for name in self.left:
            what = f"- forget {name}" if self.prune else f"{name} is left alone; --prune forgets it"
            lines.append(f"no longer in the inventory: {what} (its host stays as it is)")
        return "\n".join([*lines, *([""] if lines else []), self.footer()])

    def to_json(self) -> dict[str, Any]:
        return {
            "machines": [_to_json(one) for one in self.machines],
            "etcd": list(self.cluster),
            "left": list(self.left),
            "summary": {
                "machines": len(self.machines),
                "changes": self.changes,
                "restarts": sum(one.plan.restarts for one in self.machines),
                "unchanged": sum(len(one.plan.unchanged) for one in self.machines),
                "errors": len(self.errors),
            },
        }


def remembers_other(target: Target) -> bool:
    """The store's record differs from what the inventory says, whether the host does or not."""
    if target.present is None or target.present.state != "ready" or target.present.pending:
        return True
    return dataclasses.replace(target.wanted, created=target.present.created) != target.present


def _render(one: MachinePlan, *, diff: bool) -> list[str]:
    name = one.target.name
    if one.error:
        return [f"{name}", *(f"  {line}" for line in f"error: {_bare(one.error)}".splitlines())]
    if not one.changes:
        return []
    new = "" if one.target.present else " (new)"
    lines = [f"{name}{new}"]
    for step in one.plan.steps:
        lines.append(f"  {step['title']}")
        if diff:
            lines.extend(f"      {line}" for line in str(step.get("diff", "")).splitlines())
    return [*lines, *(f"  {title}" for title in one.later)]


def _bare(error: MachinectlError) -> str:
    """Without the machine's name, which stands above it."""
    copy = MachinectlError(error.what, why=error.why, hint=error.hint)
    return str(copy)


def _to_json(one: MachinePlan) -> dict[str, Any]:
    return {
        "name": one.target.name,
        "new": one.target.present is None,
        "steps": [*one.plan.steps, *({"title": title, "phase": "later"} for title in one.later)],
        "unchanged": list(one.plan.unchanged),
        "restarts": one.plan.restarts,
        "error": error_json(one.error),
    }


def error_json(error: MachinectlError | None) -> dict[str, str] | None:
    """Its parts; None for none."""
    if error is None:
        return None
    return {"problem": error.problem, "what": error.what, "why": error.why, "hint": error.hint}
