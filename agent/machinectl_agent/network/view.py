"""What etcd says, as far as it concerns this machine: a copy in memory, kept by the watch. No I/O here.

Machines and networks are known whole (hundreds of small records). Endpoints are known only of the networks that
this machine has a container in, so that its cost follows what it uses and not what the cluster holds.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Set, Type, TypeVar, Union

from machinectl_agent.kv.interface import Change, Snapshot
from machinectl_agent.network.records import EndpointRecord, Layout, MachineRecord, NetworkRecord, decode

Record = TypeVar("Record")


@dataclass(frozen=True)
class Moved:
    """What one watch item changed; `kind` is machines, alive, networks or endpoints."""

    kind: str
    network: str = ""
    """Id; empty for machines and alive, and for a snapshot of all networks."""
    before: Optional[EndpointRecord] = None
    after: Optional[EndpointRecord] = None
    whole: bool = False
    """A snapshot: everything of this kind may be different."""


class View:
    """Safe in threads; one thread applies."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._changed = threading.Condition()
        self._machines: Dict[str, MachineRecord] = {}
        self._alive: Set[str] = set()
        self._networks: Dict[str, NetworkRecord] = {}
        self._endpoints: Dict[str, Dict[str, EndpointRecord]] = {}
        self._known: Set[str] = set()
        """Prefixes whose snapshot has come."""
        self.revision = 0

    def apply(self, item: Union[Snapshot, Change]) -> Optional[Moved]:
        """None where nothing has changed. A value that is no record counts as deleted: one bad record must
        not take the others away."""
        with self._changed:
            self.revision = max(self.revision, item.revision)
            moved = self._replace(item) if isinstance(item, Snapshot) else self._change(item)
            if isinstance(item, Snapshot):
                self._known.add(item.prefix)
            self._changed.notify_all()
            return moved

    def forget(self, network: str) -> None:
        """The network's endpoints are no longer watched."""
        with self._changed:
            self._endpoints.pop(network, None)
            self._known.discard(self._layout.endpoints(network))

    def wait_for(self, prefix: str, deadline: float) -> bool:
        """Until the prefix's snapshot has come; False after `deadline` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: prefix in self._known, deadline)

    def knows(self, prefix: str) -> bool:
        with self._changed:
            return prefix in self._known

    def machines(self) -> Dict[str, MachineRecord]:
        with self._changed:
            return dict(self._machines)

    def vtep(self, machine: str) -> str:
        """Empty for a machine that nobody knows (yet)."""
        with self._changed:
            found = self._machines.get(machine)
            return found.vtep if found else ""

    def dead(self) -> Set[str]:
        """Machines without a lease; nobody counts as dead before both lists are known."""
        with self._changed:
            if not {self._layout.machines, self._layout.alives} <= self._known:
                return set()
            return set(self._machines) - self._alive

    def networks(self) -> Dict[str, NetworkRecord]:
        with self._changed:
            return dict(self._networks)

    def network(self, network: str) -> Optional[NetworkRecord]:
        with self._changed:
            return self._networks.get(network)

    def endpoints(self, network: str) -> List[EndpointRecord]:
        with self._changed:
            return list(self._endpoints.get(network, {}).values())

    def _replace(self, item: Snapshot) -> Moved:
        layout = self._layout
        cut = len(item.prefix)
        if item.prefix == layout.alives:
            self._alive = {one.key[cut:] for one in item.items}
            return Moved("alive", whole=True)
        if item.prefix == layout.machines:
            self._machines = _records(MachineRecord, item)
            return Moved("machines", whole=True)
        if item.prefix == layout.networks:
            self._networks = _records(NetworkRecord, item)
            return Moved("networks", whole=True)
        network = self._network_of(item.prefix)
        self._endpoints[network] = _records(EndpointRecord, item)
        return Moved("endpoints", network, whole=True)

    def _change(self, item: Change) -> Optional[Moved]:
        layout = self._layout
        name = item.key[len(item.prefix) :]
        if item.prefix == layout.alives:
            before = name in self._alive
            (self._alive.discard if item.value is None else self._alive.add)(name)
            return Moved("alive") if before != (name in self._alive) else None
        if item.prefix == layout.machines:
            return Moved("machines") if _set(self._machines, name, MachineRecord, item.value) else None
        if item.prefix == layout.networks:
            return Moved("networks", name) if _set(self._networks, name, NetworkRecord, item.value) else None
        network = self._network_of(item.prefix)
        known = self._endpoints.setdefault(network, {})
        old = known.get(name)
        _set(known, name, EndpointRecord, item.value)
        new = known.get(name)
        return Moved("endpoints", network, old, new) if old != new else None

    def _network_of(self, prefix: str) -> str:
        return prefix.rstrip("/").rpartition("/")[2]


def _records(shape: Type[Record], item: Snapshot) -> Dict[str, Record]:
    found: Dict[str, Record] = {}
    for one in item.items:
        _set(found, one.key[len(item.prefix) :], shape, one.value)
    return found


def _set(known: Dict[str, Any], name: str, shape: Any, value: Optional[bytes]) -> bool:
    """Whether it is now another than before."""
    before = known.get(name)
    try:
        after = None if value is None else decode(shape, value)
    except (ValueError, TypeError):
        after = None
    if after is None:
        known.pop(name, None)
    else:
        known[name] = after
    return bool(before != after)
