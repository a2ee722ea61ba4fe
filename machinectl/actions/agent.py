"""agent status, upgrade: the agent's daemon on machines that are in the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from machinectl.actions.converge import connect, whoami
from machinectl.actions.fleet import Outcome, on_each
from machinectl.actions.report import Report
from machinectl.remote.agent_client import run_agent
from machinectl.remote.become import Become
from machinectl.remote.bundle import build_bundle
from machinectl.remote.daemon_client import ask_daemon
from machinectl.store.store import Store
from machinectl_agent import wire

UPGRADE_DEADLINE = 420.0
"""Seconds: an upload, a restart, and 300 s for another run on the machine to end."""


@dataclass(frozen=True)
class Upgrade:
    """Bundle hashes; `before` is `-` where no daemon ran."""

    before: str
    after: str
    changed: int


def agent_status(store: Store, names: Sequence[str], *, become: Become) -> list[Outcome[dict[str, Any]]]:
    """Every machine's `status` (agent, engine, events), with `current`: it runs this controller's bundle."""
    for name in names:
        store.load(name)
    mine = build_bundle().hash

    def one(name: str) -> dict[str, Any]:
        with connect(store, store.load(name), become, Report(name, quiet=True)) as connection:
            status = ask_daemon(connection, "status")
        return {**status, "current": status.get("agent", {}).get("bundle") == mine}

    return on_each(names, one)


def agent_upgrade(
    store: Store, names: Sequence[str], *, become: Become, quiet: bool = False
) -> list[Outcome[Upgrade]]:
    """Every machine's daemon is replaced by this controller's, and answers. Dockerd is not touched."""
    for name in names:
        store.load(name)
    bundle = build_bundle()

    def one(name: str) -> Upgrade:
        report = Report(name, quiet=quiet)
        request = wire.request("upgrade", {"for": whoami()})
        with store.machine_lock(name), connect(store, store.load(name), become, report) as connection:
            result = run_agent(connection, bundle, request, on_event=report.event, deadline=UPGRADE_DEADLINE)
        return Upgrade(str(result["from"]), str(result["to"]), int(result["changed"]))

    return on_each(names, one)
