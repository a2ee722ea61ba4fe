"""provision: machines that are in the store are brought to what the store says, with new wishes if any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from machinectl.actions.converge import converge, preview
from machinectl.actions.fleet import on_each, raise_failures
from machinectl.actions.report import Report
from machinectl.actions.wishes import changed
from machinectl.remote.become import Become
from machinectl.store.store import Store


@dataclass(frozen=True)
class Change:
    """New wishes for every machine that is named."""

    engine: Mapping[str, Any] = field(default_factory=dict)
    tls_san: Sequence[str] = ()


def provision(
    store: Store,
    names: Sequence[str],
    change: Change,
    *,
    become: Become,
    quiet: bool = False,
    dry_run: bool = False,
    replace_host_key: bool = False,
) -> None:
    """In parallel over machines; every machine's outcome is kept. New wishes are remembered for the machines
    whose hosts have taken them. Raises the error of the one machine, or `SomeMachinesFailed`."""
    for name in names:
        store.load(name)  # an unknown name is an error before anything changes

    def one(name: str) -> str:
        report = Report(name, quiet=quiet)
        with store.machine_lock(name):
            machine = changed(store.load(name), change.engine, change.tls_san)
            action = preview if dry_run else converge
            done = action(store, machine, become=become, report=report, replace_host_key=replace_host_key)
            return done if isinstance(done, str) else ""

    outcomes = on_each(names, one)
    for outcome in outcomes:
        if outcome.result:
            print(outcome.result)
    raise_failures(outcomes)
