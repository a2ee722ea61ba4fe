"""One step of a share on one machine: an SSH connection, a request to the agent, an answer."""

from __future__ import annotations

from typing import Any

from machinectl.actions.converge import connect, whoami
from machinectl.actions.report import Report
from machinectl.remote.agent_client import run_agent
from machinectl.remote.become import Become
from machinectl.remote.bundle import build_bundle
from machinectl.store.store import Store
from machinectl_agent import wire

DEADLINE = 900.0
"""Seconds: packages are installed, and another run on the machine may be waited for."""


class Asker:
    """What all steps of one run have in common."""

    def __init__(self, store: Store, share: str, become: Become, *, quiet: bool) -> None:
        self._store = store
        self._share = share
        self._become = become
        self._quiet = quiet

    def __call__(self, machine: str, op: str, **args: Any) -> dict[str, Any]:
        """The agent's result (machinectl_agent.shares.ops). Raises `MachinectlError` with the machine's name."""
        report = Report(machine, quiet=True)
        request = wire.request("shares", {"op": op, "share": self._share, "for": whoami(), **args})
        with connect(self._store, self._store.load(machine), self._become, report) as connection:
            return run_agent(connection, build_bundle(), request, on_event=report.event, deadline=DEADLINE)

    def say(self, machine: str, text: str) -> None:
        Report(machine, quiet=self._quiet).line(text)
