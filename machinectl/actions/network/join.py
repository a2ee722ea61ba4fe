"""network join, network leave: many machines at once, every one's outcome kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from machinectl.actions.converge import Options, converge, preview
from machinectl.actions.fleet import on_each, raise_failures
from machinectl.actions.network.membership import (
    carry_out,
    check_advertise,
    check_pools,
    joining,
    leaving,
)
from machinectl.actions.report import Report
from machinectl.actions.wishes import resumed
from machinectl.model import Machine
from machinectl.remote.become import Become
from machinectl.store.store import Store


def join(
    store: Store,
    names: Sequence[str],
    *,
    advertise: str = "",
    pools: Sequence[str] = (),
    pool_size: int = 0,
    become: Become,
    quiet: bool = False,
    dry_run: bool = False,
) -> None:
    """`advertise`: the address, or the interface, that other machines' packets go to. `pools`: CIDRs that subnets of
    prefix length `pool_size` are chosen from. What is not given stays as it was. Raises `UsageError` before anything
    changes, the error of the one machine, or `SomeMachinesFailed`."""
    from machinectl.actions.etcd.access import endpoints  # noqa: PLC0415 - only here

    check_advertise(names, advertise)
    pools = check_pools(pools, pool_size)
    endpoints(store)  # no etcd is one error, not one for each machine
    _each(
        store,
        names,
        lambda one: joining(one, advertise, pools, pool_size),
        become,
        quiet=quiet,
        dry_run=dry_run,
    )


def leave(
    store: Store,
    names: Sequence[str],
    *,
    force: bool = False,
    become: Become,
    quiet: bool = False,
    dry_run: bool = False,
) -> None:
    """`force`: containers in the networks are disconnected, and an etcd that is away is no obstacle. Raises as
    `join`."""
    _each(store, names, lambda one: leaving(one, force=force), become, quiet=quiet, dry_run=dry_run)


def _each(
    store: Store,
    names: Sequence[str],
    wish: Callable[[Machine], Machine],
    become: Become,
    *,
    quiet: bool,
    dry_run: bool,
) -> None:
    for name in names:
        store.load(name)  # an unknown name is an error before anything changes

    def one(name: str) -> str:
        options: Options = {
            "become": become,
            "report": Report(name, quiet=quiet),
            "replace_host_key": False,
            "take_over": False,
        }
        with store.machine_lock(name):
            present = store.load(name)
            wanted = wish(present)
            machine = dataclasses.replace(resumed(present), network=wanted.network)
            if dry_run:
                return preview(store, machine, **options)
            carry_out(store, present, machine, lambda machine: converge(store, machine, **options))
            return ""

    outcomes = on_each(names, one)
    for outcome in outcomes:
        if outcome.result:
            print(outcome.result)
    raise_failures(outcomes)
