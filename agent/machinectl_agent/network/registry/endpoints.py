"""Endpoints: each is bound to its addresses, and freed with them, in one transaction."""

from __future__ import annotations

import dataclasses
import ipaddress
import secrets
from typing import Dict, Iterable, List, Optional, Sequence

from machinectl_agent.kv.interface import Compare, Delete, Get, KeyValue, Put
from machinectl_agent.network.records import AddressRecord, EndpointRecord, NetworkRecord, encode
from machinectl_agent.network.registry.addresses import taken
from machinectl_agent.network.registry.blocks import Block, block
from machinectl_agent.network.registry.errors import BadSubnet, EndpointGone, NetworkGone
from machinectl_agent.network.registry.memory import Memory
from machinectl_agent.network.registry.networks import Networks, gone
from machinectl_agent.network.registry.store import (
    Store,
    exists,
    first,
    has_value,
    missing,
    parsed,
    parsed_all,
)


class Endpoints:
    def __init__(self, store: Store, networks: Networks) -> None:
        self._store = store
        self._networks = networks

    def put(self, record: EndpointRecord) -> None:
        """Binds its addresses: unbound ones of ours, or free ones. Raises NetworkGone, AddressTaken."""
        if record.machine != self._store.machine:
            raise EndpointGone(f"endpoint {record.id[:12]} is of another machine")
        if not (record.ip or record.ip6):
            raise BadSubnet(f"endpoint {record.id[:12]} has no address")
        layout, memory = self._store.layout, self._store.memory
        addresses = self.addresses(record)
        keys = [layout.endpoint(record.network, record.id), *addresses]
        remembered = _remembered(memory, keys)
        # what is remembered of somebody else may be long over: left out, it is read
        expected = {
            key: value
            for key, value in remembered.items()
            if value and _may_bind(key, value, addresses, record)
        }
        token = secrets.token_hex(8)
        self._store.settle(lambda: self._put(record, addresses, expected, token))

    def update(
        self, network: str, endpoint: str, *, name: str, aliases: Sequence[str], container: str
    ) -> None:
        """Raises EndpointGone."""
        key = self._store.layout.endpoint(network, endpoint)

        def step() -> Optional[bool]:
            memory = self._store.memory.endpoints
            value = memory.get(key) or self._value(key)
            record = parsed(EndpointRecord, KeyValue(key, value)) if value else None
            if value is None or record is None or record.machine != self._store.machine:
                memory.pop(key, None)
                raise EndpointGone(f"there is no endpoint {endpoint[:12]} of this machine in etcd")
            after = encode(
                dataclasses.replace(record, name=name, aliases=tuple(aliases), container=container)
            )
            done = self._store.txn([has_value(key, value)], [Put(key, after)], [Get(key)])
            found = None if done.ok else first(done.answers, 0)
            if done.ok or (found and found.value == after):
                memory[key] = after
                return True
            memory.pop(key, None)
            return None

        self._store.settle(step)

    def delete(self, network: str, endpoint: str) -> None:
        """With its addresses. Nothing where it is gone already, or another machine's."""
        self._store.memory.note_departed(endpoint)
        self._store.settle(lambda: self._delete(network, endpoint))

    def of(self, network: str) -> List[EndpointRecord]:
        """On all machines."""
        return parsed_all(EndpointRecord, self._store.range(self._store.layout.endpoints(network)).items)

    def addresses(self, record: EndpointRecord) -> Dict[str, str]:
        """Key → address. Raises NetworkGone, BadSubnet."""
        network = self._networks.known(record.network)
        found = {}
        for ip in (record.ip, record.ip6):
            if ip:
                where = _subnet_of(network, ip)
                address = where.text(where.number(ip))
                found[self._store.layout.address(str(where.subnet), address)] = address
        return found

    def _put(
        self, record: EndpointRecord, addresses: Dict[str, str], expected: Dict[str, bytes], token: str
    ) -> Optional[bool]:
        """One try, one round trip. `expected` is what the keys hold, as is believed; it is corrected."""
        store, layout = self._store, self._store.layout
        network, key = layout.network(record.network), layout.endpoint(record.network, record.id)
        self._check_ours(record, expected.get(key))
        wanted = {key: encode(record)}
        for address, ip in addresses.items():
            held = _address(address, expected.get(address)) or AddressRecord(store.machine, token=token)
            if (
                held.machine != store.machine
                or held.kind != "endpoint"
                or held.endpoint not in ("", record.id)
            ):
                raise taken(store, ip, held)
            wanted[address] = encode(dataclasses.replace(held, endpoint=record.id))
        done = store.txn(
            [exists(network), *(_is(one, expected.get(one)) for one in wanted)],
            [put for one, value in wanted.items() for put in (Put(one, value), Put(store.mark(one), b""))],
            [Get(network), *(Get(one) for one in wanted)],
        )
        if done.ok:
            _remember(store.memory, key, wanted)
            return True
        if first(done.answers, 0) is None:
            store.memory.networks.pop(record.network, None)
            raise gone(record.network)
        expected.clear()
        expected.update((one.key, one.value) for answer in done.answers[1:] for one in answer)
        if all(expected.get(one) == value for one, value in wanted.items()):
            # it was done by the try whose answer was lost
            _remember(store.memory, key, wanted)
            return True
        return None

    def _check_ours(self, record: EndpointRecord, value: Optional[bytes]) -> None:
        there = parsed(EndpointRecord, KeyValue("", value)) if value else None
        if there and there.machine != self._store.machine:
            raise EndpointGone(f"endpoint {record.id[:12]} is another machine's")

    def _delete(self, network: str, endpoint: str) -> Optional[bool]:
        store, key = self._store, self._store.layout.endpoint(network, endpoint)
        memory = store.memory
        value = memory.endpoints.get(key) or self._value(key)
        record = parsed(EndpointRecord, KeyValue(key, value)) if value else None
        if value is None or record is None or record.machine != store.machine:
            memory.endpoints.pop(key, None)
            return True
        try:
            addresses = self.addresses(record)
        except NetworkGone:
            # networks go only without endpoints: so this one has gone before
            memory.endpoints.pop(key, None)
            return True
        held = _remembered(memory, addresses)
        if not all(content and _endpoint(one, content) == endpoint for one, content in held.items()):
            found = store.read(addresses)
            held = {one: found[one].value if one in found else None for one in addresses}
        bound = {
            one: content for one, content in held.items() if content and _endpoint(one, content) == endpoint
        }
        done = store.txn(
            [has_value(key, value), *(has_value(one, content) for one, content in bound.items())],
            [delete for one in (key, *bound) for delete in (Delete(one), Delete(store.mark(one)))],
        )
        for one in (key, *addresses):
            memory.endpoints.pop(one, None)
            memory.addresses.pop(one, None)
        if not done.ok:
            return None
        for one in bound:
            memory.note_freed(one)
            ip = addresses[one]
            memory.note_released(str(_subnet_of(self._networks.known(network), ip).subnet), ip)
        return True

    def _value(self, key: str) -> Optional[bytes]:
        found = self._store.get(key)
        return found.value if found else None


def _subnet_of(network: NetworkRecord, ip: str) -> Block:
    """The network's subnet that has the address. Raises BadSubnet."""
    for pool in network.pools:
        where = block(pool.subnet)
        if ipaddress.ip_address(ip) in where.subnet:
            return where
    raise BadSubnet(f"{ip} is in no subnet of network {network.name or network.id[:12]}")


def _address(key: str, value: Optional[bytes]) -> Optional[AddressRecord]:
    return parsed(AddressRecord, KeyValue(key, value)) if value else None


def _endpoint(key: str, value: bytes) -> str:
    """Whom an address is bound to."""
    found = _address(key, value)
    return found.endpoint if found else ""


def _may_bind(key: str, value: bytes, addresses: Dict[str, str], record: EndpointRecord) -> bool:
    return key not in addresses or _endpoint(key, value) in ("", record.id)


def _is(key: str, value: Optional[bytes]) -> Compare:
    return missing(key) if value is None else has_value(key, value)


def _remembered(memory: Memory, keys: Iterable[str]) -> Dict[str, Optional[bytes]]:
    return {key: memory.endpoints.get(key) or memory.addresses.get(key) for key in keys}


def _remember(memory: Memory, endpoint: str, written: Dict[str, bytes]) -> None:
    for key, value in written.items():
        (memory.endpoints if key == endpoint else memory.addresses)[key] = value
