"""One question about volumes to a machine's agent: an SSH connection, a request, an answer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from machinectl.actions.report import Report
from machinectl.errors import ConnectionFailed, MachinectlError
from machinectl.remote.agent_client import run_agent
from machinectl.remote.become import Become
from machinectl.remote.bundle import build_bundle
from machinectl.remote.connection import Connection, open_connection
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
    with _open(store, machine, become) as connection:
        return _ask(connection, args, report or Report(machine, quiet=True), deadline)


class Prepared:
    """A question for later, whose connection is made meanwhile: it costs the end of a long work no second."""

    def __init__(self, store: Store, machine: str, become: Become, opening: Future[Connection]) -> None:
        self._store = store
        self._machine = machine
        self._become = become
        self._opening = opening

    def remove(self, name: str, copied: Mapping[str, Any], report: Report) -> None:
        """The volume `name`, if it still is what was copied (as the agent's `rm` has it).
        Where the connection has died of boredom, by another one."""
        removal = {"op": "rm", "name": name, "copied": copied}
        try:
            _ask(self._opening.result(), removal, report, READING)
        except ConnectionFailed:
            # it may be gone already, and the answer was lost
            ask_volumes(
                self._store,
                self._machine,
                {**removal, "force": True},
                become=self._become,
                report=report,
                deadline=READING,
            )


@contextmanager
def prepared(store: Store, machine: str, become: Become) -> Iterator[Prepared]:
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(_open, store, machine, become)
        try:
            yield Prepared(store, machine, become, opening)
        finally:
            with contextlib.suppress(MachinectlError):
                opening.result().close()


def _open(store: Store, machine: str, become: Become) -> Connection:
    return open_connection(
        store.load(machine).ssh, machine=machine, known_hosts=store.known_hosts, become=become
    )


def _ask(connection: Connection, args: Mapping[str, Any], report: Report, deadline: float) -> dict[str, Any]:
    request = wire.request("volumes", args)
    return run_agent(connection, build_bundle(), request, on_event=report.event, deadline=deadline)
