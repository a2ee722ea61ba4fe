"""Addresses: each is one key, made by a transaction that fails where it exists; two owners can't be."""

from __future__ import annotations

import secrets
from typing import List, Optional, Tuple

from machinectl_agent.kv.interface import Delete, Get, KeyValue, KvError, KvUnavailable, Put
from machinectl_agent.network.records import AddressRecord, MachineRecord, PoolRecord, decode, encode
from machinectl_agent.network.registry.blocks import Block, block
from machinectl_agent.network.registry.errors import AddressTaken, BadSubnet, PoolFull, PoolGone
from machinectl_agent.network.registry.stock import Stock
from machinectl_agent.network.registry.store import Store, exists, first, has_value, missing, parsed

SHARED = ("gateway", "auxiliary")
"""Kinds that belong to the network: all its machines ask for them, and none of them frees them."""

_SMALL = 1024
"""Addresses of a subnet that are all read at once with the answer that one of them is taken."""


class Addresses:
    def __init__(self, store: Store) -> None:
        self._store = store

    def request(self, subnet: str, address: str, *, kind: str, token: str) -> str:
        """With the subnet's prefix length."""
        where, token = block(subnet), token or secrets.token_hex(8)
        if address:
            found = self._explicit(where, where.text(where.number(address)), kind, token)
        elif kind == "gateway":
            found = self._gateway(where, token)
        else:
            found = _Choice(self, self._store, where, kind, token).run()
        return f"{found}/{where.subnet.prefixlen}"

    def release(self, subnet: str, address: str) -> None:
        """An unbound one of ours; nothing else."""
        where = block(subnet)
        ip = where.text(where.number(address))
        key = self._store.layout.address(str(where.subnet), ip)
        if self._store.memory.was_freed(key):
            return
        if self._store.settle(lambda: self._release(key, str(where.subnet))) == "freed":
            self._store.memory.note_released(str(where.subnet), ip)

    def claim(
        self, where: Block, ip: str, kind: str, token: str, *, pool_as: bytes = b""
    ) -> Tuple[Optional[AddressRecord], Tuple[KeyValue, ...]]:
        """One try, one round trip: None where it is ours now, else who has it (no machine: nobody), and what else
        was read. `pool_as`: only while the pool is so. Raises PoolGone."""
        store, subnet = self._store, str(where.subnet)
        pool, key = store.layout.pool(subnet), store.layout.address(subnet, ip)
        record = AddressRecord(store.machine, kind, token=token)
        value = encode(record)
        marks = [] if kind in SHARED else [Put(store.mark(key), b"")]
        small = where.subnet.num_addresses <= _SMALL
        look = Get(store.layout.addresses(subnet), is_prefix=True) if small else Get(key)
        pool_is = has_value(pool, pool_as) if pool_as else exists(pool)
        done = store.txn([pool_is, missing(key)], [Put(key, value), *marks], [Get(pool), look])
        others: Tuple[KeyValue, ...] = ()
        if not done.ok:
            self._keep_pool(subnet, first(done.answers, 0))
            others = done.answers[1]
            found = next((one for one in others if one.key == key), None)
            if found is None or found.value != value:
                return parsed(AddressRecord, found) or AddressRecord(
                    "?" if found else ""
                ), others if small else ()
        if kind not in SHARED:
            store.memory.addresses[key] = value
        return None, ()

    def _explicit(self, where: Block, ip: str, kind: str, token: str) -> str:
        store = self._store
        key = store.layout.address(str(where.subnet), ip)

        def step() -> Optional[str]:
            owner, _ = self.claim(where, ip, kind, token)
            if owner is None or (kind in SHARED and owner.kind == kind):
                return ip
            if owner.machine == store.machine and owner.token in store.memory.doubtful and not owner.endpoint:
                # of a request of ours that failed as nobody knew its outcome: nobody was given it
                self._drop(key, owner)
                return None
            raise taken(store, ip, owner)

        try:
            return store.settle(step)
        except KvUnavailable:
            store.memory.doubtful.add(token)
            raise

    def _gateway(self, where: Block, token: str) -> str:
        """The one that there is, else the lowest free."""
        prefix = self._store.layout.addresses(str(where.subnet))
        page = self._store.settle(lambda: self._store.range(prefix))
        for one in page.items:
            record = parsed(AddressRecord, one)
            if record and record.kind == "gateway":
                return one.key[len(prefix) :]
        return _Choice(self, self._store, where, "gateway", token).run()

    def pool(self, subnet: str) -> bytes:
        """PoolRecord as it was known last, else as it is. Raises PoolGone."""
        key = self._store.layout.pool(subnet)
        return self._store.memory.pools.get(key) or self._keep_pool(subnet, self._store.get(key))

    def numbers(self, where: Block) -> List[int]:
        """All taken addresses of a subnet."""
        prefix = self._store.layout.addresses(str(where.subnet))
        return taken_numbers(where, prefix, self._store.range(prefix, keys_only=True).items)

    def _keep_pool(self, subnet: str, found: Optional[KeyValue]) -> bytes:
        memory = self._store.memory
        if parsed(PoolRecord, found) is None or found is None:
            memory.pools.pop(self._store.layout.pool(subnet), None)
            memory.forget_stock(subnet)
            raise PoolGone(
                f"no network has the subnet {subnet}", why="it was removed", hint="`machinectl network ls`"
            )
        memory.pools[found.key] = found.value
        return found.value

    def _release(self, key: str, subnet: str) -> Optional[str]:
        """`freed`, `kept`, or None to look again."""
        store = self._store
        value = store.memory.addresses.get(key)
        if value is None:
            found = store.get(key)
            value = found.value if found else None
        record = parsed(AddressRecord, KeyValue(key, value)) if value is not None else None
        if record is None or record.machine != store.machine or record.endpoint:
            return "kept"
        compares = [has_value(key, value or b"")]
        if record.kind in SHARED:
            pool = store.get(store.layout.pool(subnet))
            pool_record = parsed(PoolRecord, pool)
            if pool_record and pool_record.network:
                return "kept"
            if pool:
                compares.append(has_value(pool.key, pool.value))
        done = store.txn(compares, [Delete(key), Delete(store.mark(key))], [Get(key)])
        store.memory.addresses.pop(key, None)
        if done.ok:
            return "freed"
        return None if first(done.answers, 0) else "kept"

    def _drop(self, key: str, record: AddressRecord) -> None:
        store = self._store
        store.txn([has_value(key, encode(record))], [Delete(key), Delete(store.mark(key))])


class _Choice:
    """One request for any address of a subnet."""

    def __init__(self, addresses: Addresses, store: Store, where: Block, kind: str, token: str) -> None:
        self._addresses = addresses
        self._store = store
        self._subnet = str(where.subnet)
        self._kind = kind
        self._token = token
        self._where = where
        self._number: Optional[int] = None
        self._conflicts = 0
        self._is_fresh = False

    def run(self) -> str:
        try:
            return self._store.settle(self._step)
        except KvError:
            if self._number is not None:
                # etcd may have it; never a candidate again before it was read anew
                self._store.memory.doubtful.add(self._token)
                self._stock.settle(self._number, used=True)
            raise

    @property
    def _stock(self) -> Stock:
        return self._store.memory.stock(self._where)

    def _step(self) -> Optional[str]:
        pool = self._addresses.pool(self._subnet)
        # after a try without an answer the same address with the same token: if that try was done, it shows
        if self._number is None:
            self._where = block(self._subnet, decode(PoolRecord, pool).range)
            self._number = self._pick()
        where, number = self._where, self._number
        owner, others = self._addresses.claim(
            where, where.text(number), self._kind, self._token, pool_as=pool
        )
        self._number = None
        self._stock.settle(number, used=owner is None or bool(owner.machine))
        if owner is None:
            return where.text(number)
        self._conflicts += bool(owner.machine)
        if others:
            self._refresh(taken_numbers(where, self._store.layout.addresses(self._subnet), others))
        elif owner.machine:
            self._refresh(self._addresses.numbers(where))
        return None

    def _pick(self) -> int:
        number = self._stock.pick(self._conflicts)
        if number is None and not self._is_fresh:
            self._refresh(self._addresses.numbers(self._where))
            number = self._stock.pick()
        if number is None:
            raise PoolFull(
                f"subnet {self._where.subnet} has no free address",
                why=f"all {self._where.count} of {self._where.range} are taken",
                hint="remove containers from the network, or make one with a wider --subnet",
            )
        return number

    def _refresh(self, used: List[int]) -> None:
        self._stock.refresh(used)
        self._is_fresh = True


def taken_numbers(where: Block, prefix: str, items: Tuple[KeyValue, ...]) -> List[int]:
    """Pure: keys below a subnet's prefix → addresses; what is none is left out."""
    found = []
    for one in items:
        try:
            found.append(where.number(one.key[len(prefix) :]))
        except BadSubnet:  # a strange key takes no address
            continue
    return found


def taken(store: Store, ip: str, owner: AddressRecord) -> AddressTaken:
    """The error that names the owner as a person knows it."""
    if owner.kind in SHARED:
        return AddressTaken(
            f"address {ip} is taken",
            why=f"it is the network's own ({owner.kind})",
            hint="choose another --ip",
        )
    try:
        machine = parsed(MachineRecord, store.get(store.layout.machine(owner.machine)))
    except KvError:
        machine = None
    where = machine.name if machine else owner.machine[:12]
    whose = f"endpoint {owner.endpoint[:12]}" if owner.endpoint else "a container that is just being made"
    return AddressTaken(
        f"address {ip} is taken",
        why=f"{whose} on {where} has it",
        hint="choose another --ip; one that nobody uses is freed by the next reconcile on that machine",
    )
