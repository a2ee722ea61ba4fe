"""provision: machines that are in the store are brought to what the store says, with new wishes if any."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from machinectl.actions.context import add_context, check_context
from machinectl.actions.converge import Options, converge, preview
from machinectl.actions.fleet import on_each, raise_failures
from machinectl.actions.once import Once
from machinectl.actions.report import Report
from machinectl.actions.wishes import changed, pending, resumed
from machinectl.errors import AgentFailed
from machinectl.model import Machine
from machinectl.remote.become import Become
from machinectl.store.store import Store

UNKNOWN_OUTCOMES = ("agent-failed", "agent-silent", "agent-timeout", "controller-gone")
"""Problems after which the host may have the new wishes or not; the next run finds out."""


@dataclass(frozen=True)
class Change:
    """New wishes for every machine that is named."""

    engine: Mapping[str, Any] = field(default_factory=dict)
    tls_san: Sequence[str] = ()
    edit: Callable[[Machine], Machine] | None = None
    """Any other change of a machine's wishes."""

    def wanted(self, machine: Machine) -> Machine:
        """The machine with them."""
        machine = changed(machine, self.engine, self.tls_san)
        return self.edit(machine) if self.edit else machine


def provision(
    store: Store,
    names: Sequence[str],
    change: Change,
    *,
    become: Become,
    quiet: bool = False,
    dry_run: bool = False,
    replace_host_key: bool = False,
    take_over: bool = False,
    share: bool = False,
    contexts: Mapping[str, str] | None = None,
) -> None:
    """In parallel over machines; every machine's outcome is kept. New wishes are remembered for the machines
    whose hosts have taken them. `contexts`: machine → name of its entry of
    `docker context`. Raises the error of the one machine, or `SomeMachinesFailed`."""
    for name in names:
        store.load(name)  # an unknown name is an error before anything changes
    for name, context in (contexts or {}).items():
        check_context(store, name, context)

    def one(name: str) -> str:
        report = Report(name, quiet=quiet)
        options: Options = {
            "become": become,
            "report": report,
            "replace_host_key": replace_host_key,
            "take_over": take_over,
        }
        with store.machine_lock(name):
            present = store.load(name)
            machine = change.wanted(resumed(present))
            if dry_run:
                return preview(store, machine, **options, once=Once(share=share))
            if machine != present and present.state == "ready":
                store.save(pending(present, machine))
            try:
                machine = converge(store, machine, **options, once=Once(share=share))
            except AgentFailed as error:
                if error.problem not in UNKNOWN_OUTCOMES:
                    # the agent said no, and its host is as it was: the wish is not tried again by itself
                    store.save(dataclasses.replace(store.load(name), pending={}))
                raise
            if contexts and name in contexts:
                add_context(store, machine, contexts[name])
            return ""

    outcomes = on_each(names, one)
    for outcome in outcomes:
        if outcome.result:
            print(outcome.result)
    raise_failures(outcomes)
