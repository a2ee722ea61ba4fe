"""apply: the whole story.

hosts      every machine, but for networks that have no etcd yet
etcd       founded, or a member more or less
networks   machines that had to wait for it
prune      machines that the inventory has no more are forgotten
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from machinectl.actions.apply.cluster import bring_members
from machinectl.actions.apply.fleet_plan import error_json
from machinectl.actions.apply.options import ApplyOptions
from machinectl.actions.apply.planning import Scope
from machinectl.actions.apply.rounds import bring_all
from machinectl.actions.apply.targets import Target
from machinectl.actions.converge import Converged
from machinectl.actions.fleet import Outcome
from machinectl.actions.remove import forget_member, remove
from machinectl.actions.report import Report, render_plan
from machinectl.errors import MachinectlError, SomeMachinesFailed
from machinectl.store.etcd import load_etcd
from machinectl.store.store import Store


@dataclass
class Applied:
    """What became of a run."""

    outcomes: dict[str, Outcome[Converged]]
    joined: dict[str, Outcome[Converged]] = field(default_factory=dict)
    """Second turns, of machines that had to wait for etcd."""
    cluster_error: MachinectlError | None = None
    pruned: list[str] = field(default_factory=list)
    prune_errors: list[MachinectlError] = field(default_factory=list)

    @property
    def errors(self) -> list[MachinectlError]:
        found = [one.error for one in (*self.outcomes.values(), *self.joined.values()) if one.error]
        return [*found, *([self.cluster_error] if self.cluster_error else []), *self.prune_errors]

    @property
    def steps(self) -> int:
        """Done on hosts."""
        both = (*self.outcomes.values(), *self.joined.values())
        return sum(len(one.result.plan.steps) for one in both if one.result) + len(self.pruned)

    @property
    def restarts(self) -> int:
        both = (*self.outcomes.values(), *self.joined.values())
        return sum(one.result.plan.restarts for one in both if one.result)

    def footer(self) -> str:
        """`3 machines: 5 changed, 1 engine restarted, 12 unchanged`."""
        count = len(self.outcomes)
        unchanged = sum(len(one.result.plan.unchanged) for one in self.outcomes.values() if one.result)
        engines = f"{self.restarts} engine{'' if self.restarts == 1 else 's'} restarted"
        text = f"{count} machine{'' if count == 1 else 's'}: {self.steps} changed, {engines}, {unchanged} unchanged"
        return text + (f", {len(self.errors)} failed" if self.errors else "")

    def diffs(self) -> str:
        """What has changed on each host, as plan shows it."""
        return "".join(
            f"{render_plan(one.name, one.result.plan.steps)}\n"
            for one in self.outcomes.values()
            if one.result and one.result.plan.steps
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "machines": [self._row(one) for one in self.outcomes.values()],
            "etcd_error": str(self.cluster_error) if self.cluster_error else None,
            "pruned": self.pruned,
            "summary": {
                "machines": len(self.outcomes),
                "changed": self.steps,
                "restarts": self.restarts,
                "failed": len(self.errors),
            },
        }

    def _row(self, one: Outcome[Converged]) -> dict[str, Any]:
        again = self.joined.get(one.name)
        error = one.error or (again.error if again else None)
        both = [turn.result for turn in (one, again) if turn and turn.result]
        return {
            "name": one.name,
            "steps": [step for result in both for step in result.plan.steps],
            "error": error_json(error),
        }

    def raise_failures(self) -> None:
        """The error of a single machine, or `SomeMachinesFailed` with all of them."""
        if not self.errors:
            return
        if len(self.outcomes) == 1 and len(self.errors) == 1:
            raise self.errors[0]
        machines = {one.machine for one in self.errors}
        raise SomeMachinesFailed(
            f"{len(machines)} of {len(self.outcomes)} machines failed\n"
            + "\n".join(str(error) for error in self.errors)
        )


def apply(store: Store, scope: Scope, options: ApplyOptions) -> Applied:
    """Raises nothing that is one machine's: see `Applied.errors`. The same command again finishes what a failure
    or a kill has left."""
    no_etcd = load_etcd(store) is None
    waiting = [one for one in scope.targets if no_etcd and one.joins]
    later = {one.name for one in waiting}
    first = [_without_network(one) if one.name in later else one for one in scope.targets]
    applied = Applied(bring_all(store, first, options))
    if scope.members:
        try:
            _check_ready(scope, applied)
            bring_members(store, scope.members, options)
        except MachinectlError as error:
            applied.cluster_error = error
    if waiting and load_etcd(store) is not None and not applied.cluster_error:
        ready = [one for one in waiting if not applied.outcomes[one.name].error]
        applied.joined = bring_all(store, [_again(store, one) for one in ready], options)
    elif waiting:
        applied.joined = {one.name: _no_etcd(one.name, applied.cluster_error) for one in waiting}
    if options.prune:
        _prune(store, scope.left, applied, options)
    return applied


def _no_etcd(name: str, error: MachinectlError | None) -> Outcome[Converged]:
    return Outcome(
        name,
        error=MachinectlError(
            "it can't join the networks",
            why=error.what if error else "there is no etcd, and no machine of the inventory is to run it",
            hint="give machines `etcd: true`, or `machinectl etcd use` one that is there",
            machine=name,
        ),
    )


def _without_network(target: Target) -> Target:
    before = target.present.network if target.present else {}
    return dataclasses.replace(target, wanted=dataclasses.replace(target.wanted, network=before))


def _again(store: Store, target: Target) -> Target:
    """As the first turn has left it, with its wish to join."""
    present = store.load(target.name)
    wanted = dataclasses.replace(present, network=target.wanted.network)
    return dataclasses.replace(target, present=present, wanted=wanted)


def _check_ready(scope: Scope, applied: Applied) -> None:
    members = scope.members.wanted if scope.members else ()
    sick = [name for name in members if name in applied.outcomes and applied.outcomes[name].error]
    if sick:
        raise MachinectlError(
            "etcd is left as it is",
            why=f"{', '.join(sick)}, which should be a member, failed",
            hint="mend it, then run the same command again",
            machine="etcd",
        )


def _prune(store: Store, left: Sequence[str], applied: Applied, options: ApplyOptions) -> None:
    for name in left:
        try:
            _forget(store, name, options.report(name))
        except MachinectlError as error:
            error.machine = error.machine or name
            applied.prune_errors.append(error)
        else:
            applied.pruned.append(name)


def _forget(store: Store, name: str, report: Report) -> None:
    etcd = load_etcd(store)
    if etcd and name in etcd.members:
        hint = f"`machinectl etcd remove {name}` first"
        raise MachinectlError("it is not forgotten: it is a member of etcd", hint=hint, machine=name)
    remove(store, name, first=lambda machine: forget_member(store, machine, report.line))
    report.line("forgotten; its host stays as it is")
