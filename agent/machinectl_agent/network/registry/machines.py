"""Machines: who is a member, and what is left of one that does not come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Optional, Set

from machinectl_agent.kv.interface import Delete, Get, KeyValue, Operation, Put
from machinectl_agent.network.records import (
    AddressRecord,
    EndpointRecord,
    MachineRecord,
    NetworkRecord,
    PoolRecord,
    encode,
)
from machinectl_agent.network.registry.errors import MachineAlive, NameTaken, NetworkInUse
from machinectl_agent.network.registry.networks import Networks
from machinectl_agent.network.registry.pools import pool_deletes
from machinectl_agent.network.registry.store import (
    OPERATIONS,
    Store,
    first,
    missing,
    none_below,
    parsed,
    parsed_all,
    same,
)

_BATCH = OPERATIONS // 4
"""Keys freed in one transaction: a pool takes four deletes."""


@dataclass(frozen=True)
class Forgotten:
    """How much of a machine was freed."""

    machine: str
    name: str
    endpoints: int = 0
    addresses: int = 0
    pools: int = 0


class Machines:
    def __init__(self, store: Store, networks: Networks) -> None:
        self._store = store
        self._networks = networks

    def register(self, record: MachineRecord) -> None:
        """Raises NameTaken."""
        self._store.settle(lambda: self._register(record))

    def settle(self, cluster: int) -> None:
        """All that we have is in this cluster."""
        store, key = self._store, self._store.layout.settles(self._store.machine)
        store.patiently(lambda: store.txn([], [Put(key, str(cluster).encode())]))

    def all(self) -> List[MachineRecord]:
        return parsed_all(MachineRecord, self._store.range(self._store.layout.machines).items)

    def alive(self) -> Set[str]:
        prefix = self._store.layout.alives
        return {one.key[len(prefix) :] for one in self._store.range(prefix, keys_only=True).items}

    def forget(self, machine: str, *, force: bool) -> Forgotten:
        """The record goes last: who was killed half-way finds it and goes on. Raises MachineAlive."""
        store, layout = self._store, self._store.layout
        record = parsed(MachineRecord, store.patiently(lambda: store.get(layout.machine(machine))))
        name = record.name if record else ""
        if not force and machine in self.alive():
            raise _alive(machine, name)
        counts = {"endpoints": 0, "addresses": 0, "pools": 0, "networks": 0}

        def step() -> Optional[bool]:
            # endpoints first: peers stop to send before an address can be anybody else's
            done = all(self._free(machine, name, kind, counts, force=force) for kind in counts)
            return (done and self._remove(machine, force=force)) or None

        store.settle(step)
        return Forgotten(machine, name, counts["endpoints"], counts["addresses"], counts["pools"])

    def _register(self, record: MachineRecord) -> Optional[bool]:
        store, layout = self._store, self._store.layout
        key, name_key = layout.machine(record.id), layout.machine_name(record.name)
        read = store.txn([], [Get(key), Get(name_key)]).answers
        found, holder = first(read, 0), first(read, 1)
        compares = [same(key, found), same(name_key, holder)]
        if holder and holder.value.decode() != record.id:
            other = layout.machine(holder.value.decode())
            if store.get(other):
                raise NameTaken(
                    f"there is a machine {record.name} already",
                    owner=holder.value.decode(),
                    why=f"it joined as {holder.value.decode()[:12]}",
                    hint=f"`machinectl network forget {record.name}` where it does not come back",
                )
            compares.append(missing(other))
        before = parsed(MachineRecord, found)
        if holder and before == record and holder.value.decode() == record.id:
            return True
        writes: List[Operation] = [Put(key, encode(record)), Put(name_key, record.id.encode())]
        if before and before.name and before.name != record.name:
            writes.append(Delete(layout.machine_name(before.name)))
        return store.txn(compares, writes).ok or None

    def _free(self, machine: str, name: str, kind: str, counts: Dict[str, int], *, force: bool) -> bool:
        """All of one kind that is a machine's; False where others changed it meanwhile."""
        store, layout = self._store, self._store.layout
        prefix = layout.mark(machine, f"{layout.prefix}{kind}/")
        keys = [layout.marked(machine, one.key) for one in store.range(prefix, keys_only=True).items]
        for begin in range(0, len(keys), _BATCH):
            batch = keys[begin : begin + _BATCH]
            found = store.read(batch)
            owned = [one for one in batch if _is_of(machine, kind, found.get(one))]
            compares = [same(one, found.get(one)) for one in batch]
            compares += [] if force else [missing(layout.alive(machine))]
            deletes: List[Operation] = [Delete(layout.mark(machine, one)) for one in batch]
            for one in owned:
                pool = parsed(PoolRecord, found[one]) if kind == "pools" else None
                deletes += pool_deletes(store, pool, machine) if pool else [Delete(one)]
            if kind == "networks":
                # one by one, as each takes much along
                deletes = deletes[: len(batch)]
                compares = []
                for one in owned:
                    self._delete_network(one[len(layout.networks) :])
            done = store.txn(compares, list(dict.fromkeys(deletes)), [Get(layout.alive(machine))])
            if not done.ok:
                if not force and done.answers[0]:
                    raise _alive(machine, name)
                return False
            counts[kind] += len(owned)
        return True

    def _delete_network(self, network: str) -> None:
        try:
            self._networks.delete(network, only_nameless=True)
        except NetworkInUse:
            pass  # somebody uses it: then it is no left-over

    def _remove(self, machine: str, *, force: bool) -> Optional[bool]:
        store, layout = self._store, self._store.layout
        found = store.get(layout.machine(machine))
        record = parsed(MachineRecord, found)
        compares = [same(layout.machine(machine), found), none_below(layout.owned(machine))]
        if not force:
            compares.append(missing(layout.alive(machine)))
        deletes: List[Operation] = [
            Delete(layout.machine(machine)),
            Delete(layout.alive(machine)),
            Delete(layout.settles(machine)),
        ]
        if record:
            name_key = layout.machine_name(record.name)
            holder = store.get(name_key)
            if holder and holder.value.decode() == machine:
                compares.append(same(name_key, holder))
                deletes.append(Delete(name_key))
        done = store.txn(compares, deletes, [Get(layout.alive(machine))])
        if not done.ok and not force and done.answers[0]:
            raise _alive(machine, record.name if record else "")
        return done.ok or None


def _is_of(machine: str, kind: str, found: Optional[KeyValue]) -> bool:
    """Whether what a mark points at is still that machine's."""
    if kind == "endpoints":
        endpoint = parsed(EndpointRecord, found)
        return bool(endpoint and endpoint.machine == machine)
    if kind == "addresses":
        address = parsed(AddressRecord, found)
        return bool(address and address.machine == machine and address.kind == "endpoint")
    if kind == "pools":
        pool = parsed(PoolRecord, found)
        return bool(pool and pool.machine == machine and not pool.network)
    network = parsed(NetworkRecord, found)
    return bool(network and network.creator == machine and not network.name)


def _alive(machine: str, name: str) -> MachineAlive:
    return MachineAlive(
        f"machine {name or machine[:12]} is alive",
        why="its agent has a lease in etcd",
        hint=f"`machinectl network leave {name or machine[:12]}`, or add --force",
    )
