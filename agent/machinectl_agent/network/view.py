"""What etcd says, as far as it concerns this machine: a copy in memory, kept by the watch. No I/O here.

Machines and networks are known whole (hundreds of small records). Endpoints are known only of the networks that
this machine has a container in, so that its cost follows what it uses and not what the cluster holds.

After a restored backup etcd knows less than the machines do. What was known before is held on to, beside what etcd
says now, until every machine that is alive has put back what it has (its mark in `settled/`): containers that run
on keep their peers and names meanwhile.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional, Set, Union

from machinectl_agent.kv.interface import Change, Snapshot
from machinectl_agent.network.records import EndpointRecord, Layout, MachineRecord, NetworkRecord, decode


@dataclass(frozen=True)
class Moved:
    """What one watch item changed; `kind` is machines, alive, networks, endpoints or settled, or restored: etcd went
    back, and nothing of it counts yet."""

    kind: str
    network: str = ""
    """Id; empty for machines and alive, and for a snapshot of all networks."""
    before: Optional[EndpointRecord] = None
    after: Optional[EndpointRecord] = None
    whole: bool = False
    """A snapshot: everything of this kind may be different."""


HOLD = 30.0
"""Seconds that what was known before a restore is held on to at most; a machine's lease is over by then."""


@dataclass(frozen=True)
class Known:
    """What a view knows, as the cache keeps it."""

    cluster: int
    machines: Mapping[str, MachineRecord]
    networks: Mapping[str, NetworkRecord]
    endpoints: Mapping[str, Mapping[str, EndpointRecord]]
    """Network → endpoint id → record."""


class View:
    """Safe in threads; one thread applies."""

    def __init__(self, layout: Layout, clock: Callable[[], float] = time.monotonic) -> None:
        self._layout = layout
        self._clock = clock
        self._changed = threading.Condition()
        self._kept: Dict[str, Dict[str, Any]] = {}
        """Prefix → name → record; what counts."""
        self._held: Dict[str, Dict[str, Any]] = {}
        """The same as etcd says it, of prefixes that are older there than what is known."""
        self._held_since = 0.0
        self._known: Set[str] = set()
        """Prefixes whose snapshot has come."""
        self.revision = 0
        self.cluster = 0
        """Id of the cluster that was heard last; 0: of none yet."""

    def apply(self, item: Union[Snapshot, Change]) -> Optional[Moved]:
        """None where nothing has changed. A value that is no record counts as deleted: one bad record must
        not take the others away."""
        with self._changed:
            moved = self._replace(item) if isinstance(item, Snapshot) else self._change(item)
            self._changed.notify_all()
            return moved

    def load(self, known: Known) -> None:
        """What was known by the process before: it counts until etcd says something else, as after a restore
        where that is another cluster by now."""
        layout = self._layout
        with self._changed:
            self.cluster = known.cluster
            self._kept[layout.machines] = dict(known.machines)
            self._kept[layout.networks] = dict(known.networks)
            for network, endpoints in known.endpoints.items():
                self._kept[layout.endpoints(network)] = dict(endpoints)

    def dump(self) -> Optional[Known]:
        """For `load`; None while it is not what etcd says."""
        layout = self._layout
        with self._changed:
            if self._held or not {layout.machines, layout.networks} <= self._known:
                return None
            begin = layout.endpoints("").rstrip("/") + "/"
            return Known(
                self.cluster,
                dict(self._of(layout.machines)),
                dict(self._of(layout.networks)),
                {
                    self._network_of(prefix): dict(records)
                    for prefix, records in self._kept.items()
                    if prefix.startswith(begin)
                },
            )

    def forget(self, network: str) -> None:
        """The network's endpoints are no longer watched."""
        prefix = self._layout.endpoints(network)
        with self._changed:
            for records in (self._kept, self._held):
                records.pop(prefix, None)
            self._known.discard(prefix)

    def wait_for(self, prefix: str, deadline: float) -> bool:
        """Until the prefix's snapshot has come; False after `deadline` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: prefix in self._known, deadline)

    def wait_settled(self, cluster: int, deadline: float) -> bool:
        """Until this cluster is the one that is followed, and nothing is held on to."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._held and (not cluster or cluster == self.cluster), deadline
            )

    def knows(self, prefix: str) -> bool:
        """From etcd itself."""
        with self._changed:
            return prefix in self._known

    def knows_peers(self, network: str) -> bool:
        """The network's endpoints and the machines that they are on, both from etcd itself."""
        with self._changed:
            return {self._layout.machines, self._layout.endpoints(network)} <= self._known

    def has_peers(self, network: str) -> bool:
        """The same, but they may also be what the process before knew."""
        with self._changed:
            return {self._layout.machines, self._layout.endpoints(network)} <= self._kept.keys()

    @property
    def is_holding(self) -> bool:
        with self._changed:
            return bool(self._held)

    def unsettled(self) -> List[str]:
        """Ids of living machines that have not said yet what they have in this cluster; none when it has taken
        too long."""
        layout = self._layout
        with self._changed:
            if self._clock() - self._held_since >= HOLD:
                return []
            settled, alive = self._of(layout.settled), self._of(layout.alives)
            # a process that has just started and knows the machines from before: nobody counts as dead yet
            everybody = layout.alives not in self._known
            return sorted(
                one
                for one in self._of(layout.machines)
                if (everybody or one in alive) and settled.get(one) != self.cluster
            )

    def has_settled(self, machine: str) -> bool:
        with self._changed:
            return bool(self._of(self._layout.settled).get(machine) == self.cluster)

    def release(self) -> List[Moved]:
        """From now on counts what etcd says."""
        with self._changed:
            held, self._held = self._held, {}
            self._kept.update(held)
            self._changed.notify_all()
            # machines first: endpoints hang on their addresses
            return [
                self._moved(prefix) for prefix in sorted(held, key=lambda one: one != self._layout.machines)
            ]

    def machines(self) -> Dict[str, MachineRecord]:
        with self._changed:
            return dict(self._of(self._layout.machines))

    def registered(self, machine: str) -> Optional[MachineRecord]:
        """As etcd has it, whatever is held on to."""
        with self._changed:
            prefix = self._layout.machines
            found: Optional[MachineRecord] = self._held.get(prefix, self._of(prefix)).get(machine)
            return found if prefix in self._known else None

    def vtep(self, machine: str) -> str:
        """Empty for a machine that nobody knows (yet)."""
        with self._changed:
            found = self._of(self._layout.machines).get(machine)
            return found.vtep if found else ""

    def dead(self) -> Set[str]:
        """Machines without a lease; nobody counts as dead before both lists are known."""
        layout = self._layout
        with self._changed:
            if not {layout.machines, layout.alives} <= self._known:
                return set()
            return set(self._of(layout.machines)) - set(self._of(layout.alives))

    def networks(self) -> Dict[str, NetworkRecord]:
        with self._changed:
            return dict(self._of(self._layout.networks))

    def network(self, network: str) -> Optional[NetworkRecord]:
        with self._changed:
            return self._of(self._layout.networks).get(network)

    def endpoints(self, network: str) -> List[EndpointRecord]:
        with self._changed:
            return list(self._of(self._layout.endpoints(network)).values())

    def _of(self, prefix: str) -> Dict[str, Any]:
        return self._kept.get(prefix, {})

    def _replace(self, item: Snapshot) -> Moved:
        prefix = item.prefix
        self._known.add(prefix)
        is_other = bool(self.cluster and item.cluster and item.cluster != self.cluster)
        self.cluster = item.cluster or self.cluster
        records = self._records(item)
        if (
            (item.restored or is_other or self._held)
            and prefix != self._layout.settled
            and prefix in self._kept
        ):
            if not self._held:
                self._held_since = self._clock()
            self._held[prefix] = records
            self.revision = item.revision
            return Moved("restored")
        self.revision = max(self.revision, item.revision)
        self._kept[prefix] = records
        return self._moved(prefix)

    def _change(self, item: Change) -> Optional[Moved]:
        prefix, name = item.prefix, item.key[len(item.prefix) :]
        self.revision = max(self.revision, item.revision)
        if prefix in self._held:
            self._set(self._held[prefix], prefix, name, item.value)
        known = self._kept.setdefault(prefix, {})
        before = known.get(name)
        self._set(known, prefix, name, item.value)
        after = known.get(name)
        if before == after:
            return None
        moved = self._moved(prefix)
        if moved.kind == "endpoints":
            return Moved("endpoints", moved.network, before, after)
        return Moved(moved.kind, name if moved.kind == "networks" else "")

    def _moved(self, prefix: str) -> Moved:
        layout = self._layout
        kinds = {layout.machines: "machines", layout.alives: "alive", layout.networks: "networks"}
        kinds[layout.settled] = "settled"
        if prefix in kinds:
            return Moved(kinds[prefix], whole=True)
        return Moved("endpoints", self._network_of(prefix), whole=True)

    def _network_of(self, prefix: str) -> str:
        return prefix.rstrip("/").rpartition("/")[2]

    def _records(self, item: Snapshot) -> Dict[str, Any]:
        found: Dict[str, Any] = {}
        for one in item.items:
            self._set(found, item.prefix, one.key[len(item.prefix) :], one.value)
        return found

    def _set(self, known: Dict[str, Any], prefix: str, name: str, value: Optional[bytes]) -> None:
        try:
            after = None if value is None else self._parse(prefix, value)
        except (ValueError, TypeError):
            after = None
        if after is None:
            known.pop(name, None)
        else:
            known[name] = after

    def _parse(self, prefix: str, value: bytes) -> Any:
        layout = self._layout
        if prefix == layout.alives:
            return True
        if prefix == layout.settled:
            return int(value)
        shapes: Dict[str, Any] = {layout.machines: MachineRecord, layout.networks: NetworkRecord}
        return decode(shapes.get(prefix, EndpointRecord), value)
