"""After a restored backup etcd has forgotten who got what since: nothing is given out before all machines said it.

    etcd goes back ─► every view holds on to what it knew ─► every reconcile puts back what its machine has and marks
    it (`settled/ID` = the cluster) ─► all living machines have: etcd's word counts again

A machine that is cut off meanwhile, or whose agent does not run, is not waited for longer than `view.HOLD`.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Iterator, Mapping, TypeVar, ValuesView

from machinectl_agent.network.ledger import Ledger
from machinectl_agent.network.records import EndpointRecord
from machinectl_agent.network.registry.registry import Registry
from machinectl_agent.network.view import HOLD, View
from machinectl_agent.problems import Problem

Found = TypeVar("Found")

PATIENCE = HOLD + 5.0
"""Seconds; dockerd has no time limit of its own for such a call."""


class Settling:
    """What gives out subnets and addresses asks through this."""

    def __init__(self, view: View, registry: Registry, patience: float = PATIENCE) -> None:
        self._view = view
        self._registry = registry
        self._patience = patience

    def ask(self, claim: Callable[[], Found], undo: Callable[[Found], Any]) -> Found:
        """What `claim` got, in a cluster in which everybody has settled. One that was restored at this very moment
        shows by its id in the answer: then it is given back and asked for again. Raises `Problem` `etcd-restored`."""
        end, view = time.monotonic() + self._patience, self._view
        self._wait(0, end)
        while True:
            found = claim()
            cluster = self._registry.cluster
            if not cluster or not view.cluster or (cluster == view.cluster and not view.is_holding):
                return found
            undo(found)
            self._wait(cluster, end)

    def _wait(self, cluster: int, end: float) -> None:
        if not self._view.wait_settled(cluster, max(end - time.monotonic(), 0)):
            raise Problem(
                "etcd-restored",
                "etcd was restored from a backup, and the machines have not put back yet what they have",
                why=f"still missing: {', '.join(self._names())}",
                hint="try again in a minute; `machinectl network doctor`",
            )

    def _names(self) -> Iterator[str]:
        machines = self._view.machines()
        for one in self._view.unsettled():
            yield machines[one].name if one in machines else one[:12]


class Here(Mapping[str, EndpointRecord]):
    """This machine's endpoints, as the ledger has them at the moment of the look: one that is made while a collect
    runs is in it before it is in etcd."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def __getitem__(self, endpoint: str) -> EndpointRecord:
        found = self._ledger.endpoint(endpoint)
        if found is None:
            raise KeyError(endpoint)
        return found.record

    def __iter__(self) -> Iterator[str]:
        return iter([one.record.id for one in self._ledger.endpoints()])

    def values(self) -> ValuesView[EndpointRecord]:
        """Of one moment: the usual one would look each up again."""
        return {one.record.id: one.record for one in self._ledger.endpoints()}.values()

    def __len__(self) -> int:
        return len(self._ledger.endpoints())
