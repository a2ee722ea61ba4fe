"""etcd deploy: founds a cluster, or brings the one that is there to new wishes.

found    record (token, members) ─► all agents at once ─► every member takes part ─► record: it exists
change   the members that are down, the others, the leader: one after the other, each has to be well again
"""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from machinectl.actions.etcd.access import foreign
from machinectl.actions.etcd.announce import tell
from machinectl.actions.etcd.members import apply_member, put_programs, wait_healthy
from machinectl.actions.etcd.upkeep import in_turn
from machinectl.actions.fleet import on_each, raise_failures
from machinectl.errors import MachinectlError, UsageError
from machinectl.remote.become import Become
from machinectl.store.etcd import Etcd, load_etcd, save_etcd
from machinectl.store.store import Store

SIZES = (1, 2, 3, 5)
"""Two is what people's guides do; it is worth a warning."""


def deploy(
    store: Store,
    names: Sequence[str],
    *,
    wishes: Mapping[str, Any],
    addresses: Mapping[str, str],
    become: Become,
    any_size: bool = False,
    quiet: bool = False,
    dry_run: bool = False,
) -> list[str]:
    """The plans with dry_run. A run that was killed is finished by the next. Raises before anything changes where
    the wish is not possible."""
    machines = [store.load(name) for name in names]
    with store.lock("etcd", wait=600.0):
        present = load_etcd(store)
        etcd = wanted(present, {one.name: one.ip for one in machines}, addresses, wishes, any_size=any_size)

        def one(name: str) -> dict[str, Any]:
            return apply_member(store, etcd, name, become=become, quiet=quiet, dry_run=dry_run)

        if dry_run:
            outcomes = on_each(list(etcd.members), one)
            raise_failures(outcomes)
            return [str((outcome.result or {})["plan"]) for outcome in outcomes]
        if present and present.state != "new" and etcd.binaries != present.binaries:
            put_programs(store, etcd, become=become, quiet=quiet)
        save_etcd(store, etcd)
        if etcd.state == "new":
            raise_failures(on_each(list(etcd.members), one))
            save_etcd(store, dataclasses.replace(etcd, state="existing"))
            return []
        before, after = (present or etcd).client_urls(), etcd.client_urls()
        if before != after:
            # now, as none of the old ones answers any more at the end
            _tell(store, before[0], [*before, *after])
        for name in in_turn(store, etcd):
            if one(name)["changed"]:
                wait_healthy(store, etcd, [name])
        _tell(store, after[0], after)
    return []


def _tell(store: Store, asked: str, urls: list[str]) -> None:
    """The machines of the networks. Where nobody can be told, `machinectl provision` brings it to them."""
    with contextlib.suppress(MachinectlError):
        tell(store, urls, asked=asked)


def wanted(
    present: Etcd | None,
    machines: Mapping[str, str],
    addresses: Mapping[str, str],
    wishes: Mapping[str, Any],
    *,
    any_size: bool,
) -> Etcd:
    """Pure: the record as it shall be. `machines`: name → its own address; `addresses`: those that were asked for.
    Raises `MachinectlError`."""
    stray = [name for name in addresses if name not in machines]
    if stray:
        raise UsageError(f"--advertise names {stray[0]}, which is not among the machines")
    if present and present.endpoints:
        raise foreign()
    if present and present.members:
        return _changed(present, machines, addresses, wishes)
    if len(machines) not in SIZES and not any_size:
        raise UsageError(
            f"etcd on {len(machines)} machines",
            why="an even number stands no more failures than one less, and more than five only cost time",
            hint="name 1, 3 or 5 machines; or add --force-size",
        )
    members = {name: addresses.get(name) or address for name, address in machines.items()}
    check_distinct(members)
    etcd = Etcd(members=members, token=f"machinectl-{secrets.token_hex(8)}", **wishes)
    _check_ports(etcd)
    return etcd


def _changed(
    present: Etcd, machines: Mapping[str, str], addresses: Mapping[str, str], wishes: Mapping[str, Any]
) -> Etcd:
    if set(machines) != set(present.members):
        raise UsageError(
            f"this store has an etcd on {', '.join(present.members)}",
            why="a deploy brings all members to what is wanted, and is no way to change which they are",
            hint="`machinectl etcd add NAME` and `remove NAME` are"
            if present.state != "new"
            else "finish it with the same machines, or undo it: `machinectl etcd remove --force` for each of them",
        )
    if present.restoring:
        raise MachinectlError(
            "a restore of this etcd was cut off",
            why="some members may have the snapshot's data and some those of before",
            hint="run `machinectl etcd restore --yes FILE` again, with the same file",
        )
    founding = present.state == "new"
    for name, address in addresses.items():
        if address != present.members[name] and not founding:
            raise UsageError(
                f"{name} is known to the other members as {present.members[name]}",
                hint=f"`machinectl etcd remove {name}`, then `machinectl etcd add --advertise {address} {name}`",
            )
    if wishes.get("peer_port", present.peer_port) != present.peer_port and not founding:
        raise UsageError(
            f"the members know each other by port {present.peer_port}",
            hint="found a new cluster for another --peer-port, and restore a backup there",
        )
    etcd = dataclasses.replace(present, **wishes)
    _check_ports(etcd)
    return etcd


def _check_ports(etcd: Etcd) -> None:
    if etcd.client_port == etcd.peer_port:
        raise UsageError(
            f"clients and members can't both have port {etcd.client_port}",
            hint="--client-port and --peer-port have to differ",
        )


def check_distinct(members: Mapping[str, str]) -> None:
    """Raises `UsageError` where two members would have one address."""
    seen: dict[str, str] = {}
    for name, address in members.items():
        if address in seen:
            raise UsageError(
                f"{seen[address]} and {name} have the same address {address}",
                hint="name each one's own with --advertise MACHINE=ADDRESS",
            )
        seen[address] = name
