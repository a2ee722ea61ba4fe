"""The agent's verb `images` on one machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from machinectl.actions.converge import connect
from machinectl.actions.report import Report
from machinectl.remote.agent_client import run_agent
from machinectl.remote.become import Become
from machinectl.remote.bundle import build_bundle
from machinectl.store.store import Store
from machinectl_agent import wire

DEADLINE = 120.0
"""Seconds for a question; a machine with thousands of images takes a while to say what layers it has."""


def ask_images(
    store: Store,
    machine: str,
    op: str,
    args: Mapping[str, Any],
    *,
    become: Become,
    on_event: Callable[[Mapping[str, Any]], None] = lambda _: None,
    deadline: float = DEADLINE,
) -> dict[str, Any]:
    """One connection, one round trip. Raises what the agent raises, with the machine's name."""
    request = wire.request("images", {"op": op, **args})
    with connect(store, store.load(machine), become, Report(machine, quiet=True)) as connection:
        return run_agent(connection, build_bundle(), request, on_event=on_event, deadline=deadline)
