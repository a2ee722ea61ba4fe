"""etcd's members, as the inventory wants them: a cluster is founded, then members come and go one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from machinectl.actions.apply.options import ApplyOptions
from machinectl.errors import UsageError
from machinectl.inventory.wish import Wish
from machinectl.store.etcd import Etcd, load_etcd
from machinectl.store.store import Store


@dataclass(frozen=True)
class Members:
    """Who shall be a member."""

    wanted: tuple[str, ...]
    known: frozenset[str]
    """All machines of the inventory: others' memberships are not ours to end."""
    selected: frozenset[str]
    """Those that this run is about."""

    @classmethod
    def of(cls, wishes: Sequence[Wish], selected: set[str]) -> Members | None:
        """None where no machine wants to be one: the inventory has nothing to say about etcd then."""
        wanted = tuple(one.name for one in wishes if one.etcd)
        if not wanted:
            return None
        return cls(wanted, frozenset(one.name for one in wishes), frozenset(selected))


def member_changes(present: Etcd | None, members: Members) -> tuple[str, ...]:
    """Pure: a title per step. Raises `UsageError` where an etcd that others run is in use."""
    if present and present.endpoints:
        raise UsageError(
            "the inventory wants etcd members, and this store uses an etcd that somebody else runs",
            hint="take `etcd` out of the inventory",
        )
    if present is None or present.state == "new" or not present.members:
        lacking = [one for one in members.wanted if one not in members.selected]
        if lacking:
            return ()  # a cluster is founded by all of its members together
        return (f"+ found a cluster on {', '.join(members.wanted)}",)
    come, go = _differing(present, members)
    return (*(f"+ add {name}" for name in come), *(f"- remove {name}" for name in go))


def bring_members(store: Store, members: Members, options: ApplyOptions) -> None:
    """Machines are hosts of ours by now. What was killed in between is found again by the next run."""
    from machinectl.actions.etcd.deploy import deploy  # noqa: PLC0415 - few runs change the cluster
    from machinectl.actions.etcd.membership import add, remove  # noqa: PLC0415

    present = load_etcd(store)
    if not member_changes(present, members):
        return
    quiet = options.report("etcd").quiet
    if present is None or present.state == "new" or not present.members:
        deploy(store, list(members.wanted), wishes={}, addresses={}, become=options.become, quiet=quiet)
        return
    come, go = _differing(present, members)
    for name in come:
        add(store, name, become=options.become, quiet=quiet)
    for name in go:
        remove(store, name, become=options.become, quiet=quiet)


def _differing(present: Etcd, members: Members) -> tuple[list[str], list[str]]:
    """New members first: the cluster never has fewer than it needs to."""
    settled = [one for one in present.members if one != present.joining]
    come = [one for one in members.wanted if one not in settled and one in members.selected]
    go = [
        one
        for one in present.members
        if one not in members.wanted and one in members.known and one in members.selected
    ]
    return come, go
