"""plan: what an apply would do, of all machines at once. Changes nothing but pinned host keys."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from machinectl.actions.apply.cluster import Members, member_changes
from machinectl.actions.apply.fleet_plan import FleetPlan, MachinePlan
from machinectl.actions.apply.options import ApplyOptions
from machinectl.actions.apply.targets import Target, inventory_name, left_behind, targets
from machinectl.actions.context import context_steps
from machinectl.actions.converge import survey
from machinectl.actions.fleet import on_each
from machinectl.errors import InventoryError, UsageError
from machinectl.inventory.read import Inventory
from machinectl.inventory.settings import wishes
from machinectl.inventory.wish import Wish
from machinectl.store.etcd import load_etcd
from machinectl.store.store import Store


@dataclasses.dataclass(frozen=True)
class Scope:
    """What a plan or an apply is about."""

    name: str
    """The inventory's, as machines remember it."""
    targets: Sequence[Target]
    left: Sequence[str]
    members: Members | None
    """Wanted members of etcd; None: the inventory says nothing about it."""


def read_scope(
    store: Store, inventory: Inventory, paths: Sequence[Path], patterns: Sequence[str], limit: Sequence[str]
) -> Scope:
    """Raises before anything is contacted: what the inventory says can't be, or nothing is selected."""
    names = inventory.select(patterns or ("all",), limit)
    if not names:
        raise UsageError(
            "no machine is selected",
            why=f"{', '.join(patterns) or 'all'} leaves none of the inventory's {len(inventory.hosts)}",
            hint="`machinectl inventory list` shows them",
        )
    chosen = set(names)
    strict = {one.name: one for one in wishes(inventory, names)}
    everybody = (strict.get(one) or _readable(inventory, one) for one in inventory.hosts)
    found = [one for one in everybody if one]
    name = inventory_name(store, paths)
    everything = targets(store, found, name)
    return Scope(
        name,
        [one for one in everything if one.name in chosen],
        left_behind(store, name, list(inventory.hosts)),
        Members.of(found, chosen),
    )


def _readable(inventory: Inventory, name: str) -> Wish | None:
    """Of a host that this run is not about: an inventory may also hold hosts that are no machines of ours."""
    try:
        return wishes(inventory, [name])[0]
    except InventoryError:
        return None


def make_plan(store: Store, scope: Scope, options: ApplyOptions) -> FleetPlan:
    """Machines that can't be asked are in the plan with their error."""
    by_name = {one.name: one for one in scope.targets}
    no_etcd = load_etcd(store) is None

    def one(name: str) -> MachinePlan:
        return plan_machine(store, by_name[name], options, without_network=no_etcd)

    outcomes = on_each(list(by_name), one, parallel=options.parallel)
    machines = [
        outcome.result or MachinePlan(by_name[outcome.name], error=outcome.error) for outcome in outcomes
    ]
    cluster = member_changes(load_etcd(store), scope.members) if scope.members else ()
    return FleetPlan(machines, cluster, scope.left, options.prune)


def plan_machine(
    store: Store, target: Target, options: ApplyOptions, *, without_network: bool
) -> MachinePlan:
    """One machine's. `without_network`: there is no etcd yet that it could be told of."""
    wanted = target.wanted
    if target.moves and target.present:
        # its key is looked at before anything is said to a host there
        title = (
            f"~ set its address {wanted.ip} (now {target.present.ip}); what else differs is found out there"
        )
        return MachinePlan(target, later=(title,))
    later: tuple[str, ...] = ()
    if without_network and wanted.network.get("state") in ("joining", "member"):
        wanted = dataclasses.replace(wanted, network={})
        later = ("+ join the networks, once there is etcd",)
    if target.context:
        later += context_steps(store, target.wanted)
    report = options.report(target.name)
    try:
        found = survey(
            store,
            wanted,
            contents=target.contents,
            become=options.become_for(target),
            report=report,
            replace_host_key=options.replace_host_key,
            take_over=options.take_over,
            once=options.once,
        )
    finally:
        report.finished()
    return MachinePlan(target, found, later)
