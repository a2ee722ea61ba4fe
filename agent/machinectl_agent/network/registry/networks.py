"""Networks: record, name, VNI, subnets and gateways come and go in one transaction each."""

from __future__ import annotations

import dataclasses
import random
from typing import Dict, List, Optional, Sequence, Tuple

from machinectl_agent.kv.interface import Compare, Delete, Get, KeyValue, Operation, Put
from machinectl_agent.network.records import (
    AddressRecord,
    EndpointRecord,
    MachineRecord,
    NetworkRecord,
    Pool,
    PoolRecord,
    encode,
)
from machinectl_agent.network.registry.addresses import taken
from machinectl_agent.network.registry.blocks import Network, block, networks, overlapping
from machinectl_agent.network.registry.errors import (
    BadSubnet,
    NameTaken,
    NetworkGone,
    NetworkInUse,
    PoolTaken,
    VniTaken,
)
from machinectl_agent.network.registry.store import (
    Store,
    first,
    none_below,
    parsed,
    parsed_all,
    same,
    unchanged_below,
)

FIRST_VNI = 4097
"""Behind the numbers that people take for VLANs."""
LAST_VNI = (1 << 24) - 2  # the very last is the doctor's probes'
"""24 bits, RFC 7348."""


class Networks:
    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, record: NetworkRecord) -> NetworkRecord:
        """Claims the VNI (0: any), the name (may be empty), subnets and gateways. What is there already with this id
        is returned as it is. Raises PoolTaken, NameTaken, VniTaken, AddressTaken."""
        pools = tuple(_canonical(pool) for pool in record.pools)
        _check_apart(pools)
        wanted = dataclasses.replace(record, pools=pools)
        made = self._store.settle(lambda: self._create(wanted))
        self._store.memory.networks[made.id] = made
        return made

    def name(self, network: str, name: str) -> None:
        """Also renames. Raises NetworkGone, NameTaken."""
        self._store.settle(lambda: self._name(network, name))

    def delete(self, network: str, *, only_nameless: bool = False) -> None:
        """No error where it is gone already. Raises NetworkInUse."""
        self._store.settle(lambda: self._delete(network, only_nameless=only_nameless))
        self._store.memory.networks.pop(network, None)

    def all(self) -> List[NetworkRecord]:
        return parsed_all(NetworkRecord, self._store.range(self._store.layout.networks).items)

    def get(self, network: str) -> Optional[NetworkRecord]:
        found = parsed(NetworkRecord, self._store.get(self._store.layout.network(network)))
        if found:
            self._store.memory.networks[network] = found
        return found

    def find(self, wanted: str) -> Optional[NetworkRecord]:
        """By name, id, or an id's beginning that fits one network only."""
        if not wanted:
            return None
        named = self._store.get(self._store.layout.network_name(wanted))
        found = self.get(named.value.decode()) if named else self.get(wanted)
        if found or not set(wanted) <= set("0123456789abcdef"):
            return found
        page = self._store.range(self._store.layout.network(wanted))
        return parsed(NetworkRecord, page.items[0]) if len(page.items) == 1 else None

    def known(self, network: str) -> NetworkRecord:
        """From memory where it is there: subnets never change. Raises NetworkGone."""
        found = self._store.memory.networks.get(network) or self.get(network)
        if found is None:
            raise gone(network)
        return found

    def _create(self, wanted: NetworkRecord) -> Optional[NetworkRecord]:
        store, layout = self._store, self._store.layout
        key = layout.network(wanted.id)
        gateways = [layout.address(one.subnet, one.gateway) for one in wanted.pools if one.gateway]
        names = [layout.network_name(wanted.name)] if wanted.name else []
        vni = wanted.vni or random.randint(FIRST_VNI, LAST_VNI)  # noqa: S311 - no secret
        keys = [key, layout.vni(vni), *names, *gateways]
        read = store.txn([], [Get(layout.pools, is_prefix=True), *(Get(one) for one in keys)])
        found = {one.key: one for answer in read.answers[1:] for one in answer}
        there = parsed(NetworkRecord, found.get(key))
        if there:
            return there
        if layout.vni(vni) in found:
            if wanted.vni:
                raise VniTaken(
                    f"VNI {vni} is taken",
                    why=f"{self._called(found[layout.vni(vni)].value)} has it",
                    hint="choose another number, or none",
                )
            return None
        if names and names[0] in found:
            raise self._name_taken(wanted.name, found[names[0]].value.decode())
        found.update((one.key, one) for one in read.answers[0])
        pools = {one.subnet: one for one in parsed_all(PoolRecord, read.answers[0])}
        record = dataclasses.replace(
            wanted, vni=vni, pools=tuple(self._ranged(pool, pools, wanted.id) for pool in wanted.pools)
        )
        compares: List[Compare] = [unchanged_below(layout.pools, read.revision)]
        compares += [same(one, None) for one in (key, layout.vni(vni), *names)]
        writes: List[Operation] = [Put(key, encode(record)), Put(layout.vni(vni), record.id.encode())]
        writes += [Put(one, record.id.encode()) for one in names]
        if not record.name:
            writes.append(Put(store.mark(key), b""))
        bound: Dict[str, bytes] = {}
        for pool in record.pools:
            compares_pool, writes_pool = self._bind(record, pool, pools.get(pool.subnet), found, bound)
            compares += compares_pool
            writes += writes_pool
        if not store.txn(compares, writes).ok:
            return None
        store.memory.pools.update(bound)
        return record

    def _ranged(self, pool: Pool, pools: Dict[str, PoolRecord], network: str) -> Pool:
        """CreateNetwork does not tell the range; RequestPool did. Raises PoolTaken where it is not ours to bind."""
        record = pools.get(pool.subnet)
        rival = ""
        if record is None:
            subnet = block(pool.subnet).subnet
            hit = overlapping(subnet, networks(list(pools)))
            rival = str(hit) if hit else ""
        elif record.network != network and (record.network or record.machine != self._store.machine):
            rival = pool.subnet
        if rival:
            owner = pools[rival].network
            raise PoolTaken(
                f"subnet {pool.subnet} overlaps {rival}",
                why=f"{self._called(owner.encode()) if owner else 'a network that is just being made'} has it",
                hint="choose another --subnet, or none: a free one is chosen then",
            )
        return dataclasses.replace(pool, range=pool.range or (record.range if record else ""))

    def _bind(
        self,
        network: NetworkRecord,
        pool: Pool,
        record: Optional[PoolRecord],
        found: Dict[str, KeyValue],
        bound: Dict[str, bytes],
    ) -> Tuple[List[Compare], List[Operation]]:
        """The pool becomes the network's, its gateway is reserved."""
        store, layout = self._store, self._store.layout
        key = layout.pool(pool.subnet)
        record = record or PoolRecord(pool.subnet, pool.range, store.machine)
        bound[key] = encode(dataclasses.replace(record, network=network.id, range=pool.range))
        # a pool that was released meanwhile is no change below `pools/`
        compares = [same(key, found.get(key))]
        writes: List[Operation] = [Put(key, bound[key]), Delete(store.mark(key))]
        if pool.gateway:
            address = layout.address(pool.subnet, pool.gateway)
            owner = parsed(AddressRecord, found.get(address))
            if owner and owner.kind != "gateway":
                raise taken(store, pool.gateway, owner)
            compares.append(same(address, found.get(address)))
            if owner is None:
                writes.append(Put(address, encode(AddressRecord(store.machine, "gateway"))))
        return compares, writes

    def _name(self, network: str, name: str) -> Optional[bool]:
        store, layout = self._store, self._store.layout
        key, name_key = layout.network(network), layout.network_name(name)
        read = store.txn([], [Get(key), Get(name_key)]).answers
        found, holder = first(read, 0), first(read, 1)
        record = parsed(NetworkRecord, found)
        if record is None:
            raise gone(network)
        if holder and holder.value != network.encode():
            raise self._name_taken(name, holder.value.decode())
        if holder and record.name == name:
            return True
        writes: List[Operation] = [
            Put(key, encode(dataclasses.replace(record, name=name))),
            Put(name_key, network.encode()),
            Delete(store.mark(key, record.creator)),
        ]
        if record.name and record.name != name:
            writes.append(Delete(layout.network_name(record.name)))
        return store.txn([same(key, found), same(name_key, holder)], writes).ok or None

    def _delete(self, network: str, *, only_nameless: bool) -> Optional[bool]:
        store, layout = self._store, self._store.layout
        key, endpoints = layout.network(network), layout.endpoints(network)
        found = store.get(key)
        record = parsed(NetworkRecord, found)
        if record is None or (record.name and only_nameless):
            return True
        deletes: List[Operation] = [
            Delete(key),
            Delete(store.mark(key, record.creator)),
            Delete(layout.vni(record.vni)),
        ]
        if record.name:
            deletes.append(Delete(layout.network_name(record.name)))
        for pool in record.pools:
            deletes.append(Delete(layout.pool(pool.subnet)))
            deletes.append(Delete(layout.addresses(pool.subnet), is_prefix=True))
        done = store.txn([same(key, found), none_below(endpoints)], deletes, [Get(endpoints, is_prefix=True)])
        if done.ok:
            for pool in record.pools:
                store.memory.pools.pop(layout.pool(pool.subnet), None)
                store.memory.forget_stock(pool.subnet)
            return True
        left = parsed_all(EndpointRecord, done.answers[0])
        if done.answers[0]:
            raise NetworkInUse(
                f"network {record.name or network[:12]} has {len(done.answers[0])} endpoints",
                left,
                why=", ".join(
                    f"{one.name or one.id[:12]} on {self._machine(one.machine)}" for one in left[:20]
                ),
                hint="remove or disconnect these containers first",
            )
        return None

    def _machine(self, machine: str) -> str:
        record = parsed(MachineRecord, self._store.get(self._store.layout.machine(machine)))
        return record.name if record else machine[:12]

    def _called(self, network: bytes) -> str:
        record = parsed(NetworkRecord, self._store.get(self._store.layout.network(network.decode())))
        return f"network {record.name}" if record and record.name else f"network {network.decode()[:12]}"

    def _name_taken(self, name: str, owner: str) -> NameTaken:
        return NameTaken(
            f"there is a network {name} already",
            owner=owner,
            why=f"it is {owner[:12]}",
            hint=f"`machinectl network inspect {name}`",
        )


def gone(network: str) -> NetworkGone:
    return NetworkGone(
        f"there is no network {network[:12]} in etcd", why="it was removed", hint="`machinectl network ls`"
    )


def _canonical(pool: Pool) -> Pool:
    where = block(pool.subnet, pool.range)
    gateway = where.text(where.number(pool.gateway)) if pool.gateway else ""
    return Pool(str(where.subnet), str(where.range) if pool.range else "", gateway)


def _check_apart(pools: Sequence[Pool]) -> None:
    """Raises BadSubnet where two subnets of one network overlap."""
    seen: List[Network] = []
    for pool in pools:
        subnet = block(pool.subnet).subnet
        if overlapping(subnet, seen):
            raise BadSubnet(f"subnet {subnet} is named twice, or overlaps another one of the same network")
        seen.append(subnet)
