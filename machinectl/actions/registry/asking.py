"""One conversation with a machine's agent about registries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from machinectl.actions.converge import connect, whoami
from machinectl.actions.report import Report
from machinectl.model import Machine
from machinectl.remote.agent_client import run_agent
from machinectl.remote.become import Become
from machinectl.remote.bundle import build_bundle
from machinectl.store.store import Store
from machinectl_agent import wire


def ask(
    store: Store,
    machine: Machine,
    op: str,
    args: Mapping[str, Any],
    *,
    become: Become,
    report: Report,
    on_event: Callable[[Mapping[str, Any]], None] | None = None,
    deadline: float = 1800.0,
) -> dict[str, Any]:
    """See machinectl_agent/registry/verb.py."""
    with connect(store, machine, become, report) as connection:
        request = wire.request("registry", {"op": op, "for": whoami(), **args})
        return run_agent(
            connection, build_bundle(), request, on_event=on_event or report.event, deadline=deadline
        )
