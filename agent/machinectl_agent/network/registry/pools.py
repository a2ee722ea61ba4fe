"""Subnets: chosen or claimed such that no two networks of the cluster overlap.

A claim compares that nothing was added or changed below `pools/` since all pools were read: two machines that
choose overlapping but different subnets at the same time can't both be right.
"""

from __future__ import annotations

import dataclasses
import secrets
from typing import List, Optional, Sequence, Tuple

from machinectl_agent.kv.interface import Delete, KeyValue, Put
from machinectl_agent.network.records import NetworkRecord, PoolRecord, encode
from machinectl_agent.network.registry.blocks import (
    DEFAULT_POOLS,
    Block,
    Network,
    block,
    choose,
    networks,
    overlapping,
)
from machinectl_agent.network.registry.errors import BadSubnet, PoolFull, PoolGone, PoolTaken
from machinectl_agent.network.registry.store import (
    Store,
    has_value,
    parsed,
    parsed_all,
    same,
    unchanged_below,
)


class Pools:
    def __init__(self, store: Store, defaults: Sequence[str], size: int) -> None:
        """`defaults`: CIDRs of either family; for a family that they don't have there are DEFAULT_POOLS."""
        self._store = store
        self._size = size
        own = {":" in one for one in defaults}
        self._defaults = tuple(defaults) + tuple(one for one in DEFAULT_POOLS if (":" in one) not in own)

    def request(self, subnet: str, inner: str, *, v6: bool, network: str, avoid: Sequence[str]) -> PoolRecord:
        if network:
            return self._replica(subnet, inner, network)
        token = secrets.token_hex(8)
        if not subnet:
            if inner:
                raise BadSubnet(f"the range {inner} has no subnet", hint="add --subnet")
            return self._store.settle(lambda: self._choose(v6=v6, avoid=networks(avoid), token=token))
        wanted = block(subnet, inner)
        return self._store.settle(lambda: self._claim(wanted, inner, networks(avoid), token))

    def release(self, subnet: str) -> None:
        """Nothing where a network has it, or another machine."""
        key = self._store.layout.pool(str(block(subnet).subnet))
        self._store.settle(lambda: self._release(key))

    def _replica(self, subnet: str, inner: str, network: str) -> PoolRecord:
        """Of a network that is there already."""
        if not subnet:
            raise BadSubnet(f"a replica of network {network[:12]} needs its subnet")
        wanted = block(subnet, inner)
        key = self._store.layout.pool(str(wanted.subnet))
        found = self._store.patiently(lambda: self._store.get(key))
        record = parsed(PoolRecord, found)
        if record is None or record.network != network:
            raise PoolGone(
                f"network {network[:12]} has no subnet {wanted.subnet}",
                why=f"{self._owner(record)} has it" if record else "the network was removed",
                hint="`machinectl network ls` shows what there is",
            )
        self._store.memory.pools[key] = encode(record)
        return record

    def _choose(self, *, v6: bool, avoid: List[Network], token: str) -> Optional[PoolRecord]:
        found, revision = self._all()
        mine = next((one for one in found if one.token == token), None)
        if mine:
            return mine
        taken = networks([one.subnet for one in found]) + avoid
        chosen = choose(self._defaults, self._size, taken, v6=v6)
        if chosen is None:
            raise PoolFull(
                "no subnet is free",
                why=f"all of {', '.join(one for one in self._defaults if (':' in one) == v6)} are taken",
                hint="name one with --subnet, or configure more default pools",
            )
        return self._write(PoolRecord(str(chosen), "", self._store.machine, token=token), revision)

    def _claim(self, wanted: Block, inner: str, avoid: List[Network], token: str) -> Optional[PoolRecord]:
        found, revision = self._all()
        subnet = str(wanted.subnet)
        for one in found:
            if one.subnet == subnet and one.machine == self._store.machine:
                # dockerd asks again for what it has at each of its starts
                inner = str(wanted.range) if inner else ""
                return one if one.network or one.range == inner else self._rerange(one, inner)
        hit = overlapping(wanted.subnet, networks([one.subnet for one in found]))
        if hit:
            owner = next(one for one in found if one.subnet == str(hit))
            raise PoolTaken(
                f"subnet {subnet} overlaps {hit}",
                why=f"{self._owner(owner)} has it",
                hint="choose another --subnet, or none: a free one is chosen then",
            )
        hit = overlapping(wanted.subnet, avoid)
        if hit:
            raise PoolTaken(
                f"subnet {subnet} overlaps {hit}",
                why="this host itself uses that",
                hint="choose another --subnet, or none: a free one is chosen then",
            )
        inner = str(wanted.range) if inner else ""
        return self._write(PoolRecord(subnet, inner, self._store.machine, token=token), revision)

    def _all(self) -> Tuple[List[PoolRecord], int]:
        page = self._store.range(self._store.layout.pools)
        return parsed_all(PoolRecord, page.items), page.revision

    def _write(self, record: PoolRecord, revision: int) -> Optional[PoolRecord]:
        """None where the pools have changed in between."""
        store, key = self._store, self._store.layout.pool(record.subnet)
        done = store.txn(
            [unchanged_below(store.layout.pools, revision), same(key, None)],
            [Put(key, encode(record)), Put(store.mark(key), b"")],
        )
        if not done.ok:
            return None
        store.memory.pools[key] = encode(record)
        return record

    def _rerange(self, record: PoolRecord, inner: str) -> Optional[PoolRecord]:
        """Another try of a network whose first one did not come to its end."""
        store, key = self._store, self._store.layout.pool(record.subnet)
        after = dataclasses.replace(record, range=inner)
        done = store.txn([has_value(key, encode(record))], [Put(key, encode(after))])
        if not done.ok:
            return None
        store.memory.pools[key] = encode(after)
        return after

    def _release(self, key: str) -> Optional[bool]:
        store = self._store
        found = store.get(key)
        record = parsed(PoolRecord, found)
        if record is None or record.network or record.machine != store.machine:
            return True
        done = store.txn([same(key, found)], pool_deletes(store, record))
        if done.ok:
            store.memory.forget_stock(record.subnet)
            store.memory.pools.pop(key, None)
        return done.ok or None

    def _owner(self, record: PoolRecord) -> str:
        """In words, as well as that can be told."""
        if not record.network:
            return f"a network that machine {record.machine[:12]} is just making"
        found: Optional[KeyValue] = self._store.get(self._store.layout.network(record.network))
        network = parsed(NetworkRecord, found)
        return f"network {network.name or network.id[:12]}" if network else f"network {record.network[:12]}"


def pool_deletes(store: Store, record: PoolRecord, machine: str = "") -> List[Delete]:
    """Everything of a pool without a network; all addresses in it are of the machine that asked for it."""
    layout = store.layout
    key = layout.pool(record.subnet)
    addresses = layout.addresses(record.subnet)
    return [
        Delete(key),
        Delete(store.mark(key, machine)),
        Delete(addresses, is_prefix=True),
        Delete(store.mark(addresses, machine), is_prefix=True),
    ]
