"""Several machines' dockerds over TLS, by the machines' names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from machinectl.errors import MachinectlError
from machinectl.remote.engine_client import engine_call
from machinectl.store.store import Store

DEADLINE = 60.0
"""Seconds for an answer; a `connect` waits for etcd, and for its container where that is being started."""


class Engines:
    """Errors carry the machine's name."""

    def __init__(self, store: Store, names: Sequence[str]) -> None:
        self._store = store
        self._machines = {name: store.load(name) for name in names}

    @property
    def names(self) -> list[str]:
        return list(self._machines)

    def only(self, names: Iterable[str]) -> None:
        """These from now on, loaded where they are not known yet."""
        self._machines = {
            name: self._machines.get(name) or self._store.load(name) for name in sorted(set(names))
        }

    def call(self, machine: str, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """As `engine_call`."""
        one = self._machines[machine]
        folder = self._store.folder(machine)
        try:
            return engine_call(one.ip, one.engine_port, folder, method, path, body, deadline=DEADLINE)
        except MachinectlError as error:
            error.machine = error.machine or machine
            raise
