"""One question about volumes to a machine's agent: an SSH connection, a request, an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from machinectl.actions.report import Report
from machinectl.remote.agent_client import run_agent
from machinectl.remote.become import Become
from machinectl.remote.bundle import build_bundle
from machinectl.remote.connection import open_connection
from machinectl.store.store import Store
from machinectl_agent import wire

DEADLINE = 1200.0
"""Seconds: a folder of millions of files is counted or removed."""

READING = 86400.0
"""Seconds: all of it is read."""


def ask_volumes(
    store: Store,
    machine: str,
    args: Mapping[str, Any],
    *,
    become: Become,
    report: Report | None = None,
    deadline: float = DEADLINE,
) -> dict[str, Any]:
    """The agent's result for `args` (machinectl_agent.volumes.ops). Raises any `MachinectlError`, with the machine's
    name."""
    report = report or Report(machine, quiet=True)
    request = wire.request("volumes", args)
    with open_connection(
        store.load(machine).ssh, machine=machine, known_hosts=store.known_hosts, become=become
    ) as connection:
        return run_agent(connection, build_bundle(), request, on_event=report.event, deadline=deadline)
