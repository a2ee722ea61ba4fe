"""registry check: do the registries that machines' engines are told of answer them?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from machinectl.actions.fleet import Outcome, on_each
from machinectl.actions.registry.asking import ask
from machinectl.actions.report import Report
from machinectl.remote.become import Become
from machinectl.store.store import Store

DEADLINE = 60.0


def check(store: Store, names: Sequence[str], *, become: Become) -> list[Outcome[list[Mapping[str, Any]]]]:
    """Of each machine rows of setting, address and problem (empty: it answers). The machine itself asks: its network
    and its certificates are what counts."""

    def one(name: str) -> list[Mapping[str, Any]]:
        report = Report(name, quiet=True)
        machine = store.load(name)
        result = ask(store, machine, "check", {}, become=become, report=report, deadline=DEADLINE)
        return list(result["registries"])

    return on_each(names, one)
