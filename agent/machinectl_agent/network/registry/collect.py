"""What is ours in etcd and what is here, brought together.

Ours there and no longer here: freed, once it has been so for `grace` seconds and between two collects; a container
that is just being made looks the same for a moment. Here and missing there (a restored older backup): put back.
What another machine has by now is never touched: it is reported.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Dict, List, Mapping, Optional, Set, Tuple

from machinectl_agent.kv.interface import Delete, KeyValue
from machinectl_agent.network.records import (
    AddressRecord,
    EndpointRecord,
    NetworkRecord,
    PoolRecord,
)
from machinectl_agent.network.registry.endpoints import Endpoints
from machinectl_agent.network.registry.errors import EndpointGone, NetworkGone, NetworkInUse, RegistryError
from machinectl_agent.network.registry.networks import Networks
from machinectl_agent.network.registry.pools import Pools
from machinectl_agent.network.registry.store import Store, missing, parsed, same

GRACE = 60.0
"""Seconds; dockerd binds an address within milliseconds, or within its own retries (15 s)."""


@dataclass
class Collected:
    """What a collect changed."""

    freed_endpoints: int = 0
    freed_addresses: int = 0
    freed_pools: int = 0
    freed_networks: int = 0
    restored_endpoints: int = 0
    restored_networks: int = 0
    conflicts: List[str] = field(default_factory=list)
    """What is here and can't be put back, in words."""

    def __str__(self) -> str:
        counts = {
            name.replace("_", " "): value for name, value in vars(self).items() if isinstance(value, int)
        }
        told = [f"{value} {name}" for name, value in counts.items() if value]
        return ", ".join(told + self.conflicts)


class Collect:
    """One at a time. Remembers since when it has seen what nobody here knows."""

    def __init__(
        self, store: Store, pools: Pools, networks: Networks, endpoints: Endpoints, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._pools = pools
        self._networks = networks
        self._endpoints = endpoints
        self._clock = clock
        self._since: Dict[Tuple[str, bytes], float] = {}

    def run(
        self, local: Mapping[str, EndpointRecord], networks: Mapping[str, NetworkRecord], grace: float
    ) -> Collected:
        """Raises KvError where etcd is away; the next one goes on."""
        done = Collected()
        found = self._ours()
        seen: Set[Tuple[str, bytes]] = set()
        now = self._clock()

        def is_due(key: str, value: bytes) -> bool:
            seen.add((key, value))
            return now - self._since.setdefault((key, value), now) >= grace

        endpoints = f"{self._store.layout.prefix}endpoints/"
        # endpoints first, and their addresses with them: an address is never free while peers still send to it
        for key, one in sorted(found.items(), key=lambda item: not item[0].startswith(endpoints)):
            self._look(key, one, local, networks, is_due, done)
        self._put_back(local, networks, found, is_due, done)
        self._since = {one: since for one, since in self._since.items() if one in seen}
        return done

    def _ours(self) -> Dict[str, Optional[KeyValue]]:
        """Every key that has a mark of ours."""
        store, layout = self._store, self._store.layout
        marks = store.patiently(lambda: store.range(layout.owned(store.machine), keys_only=True)).items
        keys = [layout.marked(store.machine, one.key) for one in marks]
        found = store.patiently(lambda: store.read(keys))
        return {key: found.get(key) for key in keys}

    def _look(
        self,
        key: str,
        found: Optional[KeyValue],
        local: Mapping[str, EndpointRecord],
        networks: Mapping[str, NetworkRecord],
        is_due: Callable[[str, bytes], bool],
        done: Collected,
    ) -> None:
        kind = key[len(self._store.layout.prefix) :].partition("/")[0]
        free = {
            "endpoints": self._free_endpoint,
            "addresses": self._free_address,
            "pools": self._free_pool,
            "networks": self._free_network,
        }.get(kind)
        if found is None or free is None:
            self._unmark(key, found)
        elif not self._is_wanted(kind, found, local, networks) and is_due(key, found.value):
            free(found, done)

    def _is_wanted(
        self,
        kind: str,
        found: KeyValue,
        local: Mapping[str, EndpointRecord],
        networks: Mapping[str, NetworkRecord],
    ) -> bool:
        if kind == "endpoints":
            return found.key.rpartition("/")[2] in local
        if kind == "addresses":
            address = parsed(AddressRecord, found)
            return bool(address and address.machine == self._store.machine and address.endpoint in local)
        if kind == "networks":
            network = parsed(NetworkRecord, found)
            return bool(network and not network.name and network.id in networks)
        return False

    def _free_endpoint(self, found: KeyValue, done: Collected) -> None:
        record = parsed(EndpointRecord, found)
        if record is None or record.machine != self._store.machine:
            self._unmark(found.key, found)
            return
        self._endpoints.delete(record.network, record.id)
        done.freed_endpoints += 1
        done.freed_addresses += bool(record.ip) + bool(record.ip6)

    def _free_address(self, found: KeyValue, done: Collected) -> None:
        record, store = parsed(AddressRecord, found), self._store
        if record is None or record.machine != store.machine:
            self._unmark(found.key, found)
            return
        # its endpoint, if there was one, was freed a moment ago, and this with it: then the compare fails
        mark = store.mark(found.key)
        if store.patiently(lambda: store.txn([same(found.key, found)], [Delete(found.key), Delete(mark)])).ok:
            store.memory.addresses.pop(found.key, None)
            done.freed_addresses += 1

    def _free_pool(self, found: KeyValue, done: Collected) -> None:
        record = parsed(PoolRecord, found)
        if record is None or record.network or record.machine != self._store.machine:
            self._unmark(found.key, found)
            return
        self._pools.release(record.subnet)
        done.freed_pools += 1

    def _free_network(self, found: KeyValue, done: Collected) -> None:
        record = parsed(NetworkRecord, found)
        if record is None or record.name:
            self._unmark(found.key, found)
            return
        try:
            self._networks.delete(record.id)
            done.freed_networks += 1
        except NetworkInUse:
            pass  # somebody uses it: then it is no left-over

    def _unmark(self, key: str, found: Optional[KeyValue]) -> None:
        """A mark of what is gone, or no longer ours."""
        store = self._store
        is_so = same(key, found) if found else missing(key)
        store.patiently(lambda: store.txn([is_so], [Delete(store.mark(key))]))

    def _put_back(
        self,
        local: Mapping[str, EndpointRecord],
        networks: Mapping[str, NetworkRecord],
        found: Mapping[str, Optional[KeyValue]],
        is_due: Callable[[str, bytes], bool],
        done: Collected,
    ) -> None:
        layout = self._store.layout
        for record in local.values():
            there = found.get(layout.endpoint(record.network, record.id))
            if self._store.memory.has_departed(record.id):
                continue
            try:
                if there is None or self._lacks_address(record, found):
                    self._restore(record, networks, done)
                elif self._is_older(record, there) and is_due(there.key + " ", there.value):
                    self._rename(record)
            except RegistryError as problem:
                name = record.name or record.id[:12]
                done.conflicts.append(
                    f"{name} keeps {record.ip or record.ip6}, but {problem.what}: {problem.why}"
                )

    def _restore(
        self, record: EndpointRecord, networks: Mapping[str, NetworkRecord], done: Collected
    ) -> None:
        try:
            self._endpoints.put(record)
        except NetworkGone:
            if record.network not in networks:
                raise
            self._networks.create(networks[record.network])
            done.restored_networks += 1
            self._endpoints.put(record)
        if self._store.memory.has_departed(record.id):
            # it was deleted while we put it back
            self._endpoints.delete(record.network, record.id)
            return
        done.restored_endpoints += 1

    def _lacks_address(self, record: EndpointRecord, found: Mapping[str, Optional[KeyValue]]) -> bool:
        return any(found.get(key) is None for key in self._endpoints.addresses(record))

    def _is_older(self, record: EndpointRecord, there: KeyValue) -> bool:
        """Whether etcd has other names of it than Docker: a write of them was lost."""
        known = parsed(EndpointRecord, there)
        return bool(known and record.name) and (known.name, known.aliases, known.container) != (  # type: ignore[union-attr]
            record.name,
            record.aliases,
            record.container,
        )

    def _rename(self, record: EndpointRecord) -> None:
        try:
            self._endpoints.update(
                record.network,
                record.id,
                name=record.name,
                aliases=record.aliases,
                container=record.container,
            )
        except EndpointGone:
            pass  # deleted a moment ago
