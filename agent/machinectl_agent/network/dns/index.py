"""The names and addresses of one network. No locks: the zone has one."""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import Dict, Iterable, Iterator, List, Optional, Set

from machinectl_agent.network.records import EndpointRecord


class Ring:
    """The endpoints that share a name. Coming and going are O(1), also with thousands of replicas."""

    __slots__ = ("_members", "_places", "_turns")

    def __init__(self) -> None:
        self._members: List[EndpointRecord] = []
        self._places: Dict[str, int] = {}
        self._turns: Dict[str, int] = {}

    def put(self, record: EndpointRecord) -> None:
        self._places[record.id] = len(self._members)
        self._members.append(record)

    def drop(self, endpoint: str) -> None:
        """The last one takes the place."""
        place, last = self._places.pop(endpoint), self._members.pop()
        if last.id != endpoint:
            self._members[place] = last
            self._places[last.id] = place

    def turned(self, kind: str) -> Iterator[EndpointRecord]:
        """All of them, beginning with another one each time. Every kind has its own turn: clients ask for A and
        AAAA in pairs, and with one turn for both two replicas would never change places."""
        members = self._members
        turn = self._turns.get(kind, 0) % len(members)
        self._turns[kind] = turn + 1
        for place in range(turn, turn + len(members)):
            yield members[place % len(members)]

    def __iter__(self) -> Iterator[EndpointRecord]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


class Index:
    """Of one network: name → ring, address → endpoint."""

    def __init__(self, records: Iterable[EndpointRecord] = ()) -> None:
        self._records: Dict[str, EndpointRecord] = {}
        self._rings: Dict[str, Ring] = {}
        self._addresses: Dict[str, str] = {}
        for record in records:
            self.put(record)

    def put(self, record: EndpointRecord) -> None:
        """Adds or replaces. An address that is none is left out: one bad record must not spoil an answer."""
        self.drop(record.id)
        record = dataclasses.replace(record, ip=_checked(record.ip, 4), ip6=_checked(record.ip6, 6))
        self._records[record.id] = record
        for name in names_of(record):
            self._rings.setdefault(name, Ring()).put(record)
        for address in (record.ip, record.ip6):
            if address:
                self._addresses[address] = record.id

    def drop(self, endpoint: str) -> None:
        record = self._records.pop(endpoint, None)
        if record is None:
            return
        for name in names_of(record):
            ring = self._rings[name]
            ring.drop(endpoint)
            if not ring:
                del self._rings[name]
        for address in (record.ip, record.ip6):
            # a new endpoint may have got it before the end of the old one was heard of
            if address and self._addresses.get(address) == endpoint:
                del self._addresses[address]

    def named(self, name: str) -> Optional[Ring]:
        """`name` in lower case."""
        return self._rings.get(name)

    def at(self, address: str) -> Optional[EndpointRecord]:
        return self._records.get(self._addresses.get(address, ""))

    def __len__(self) -> int:
        return len(self._records)


def names_of(record: EndpointRecord) -> Set[str]:
    """In lower case: the container's name, its aliases and its short id, as Docker answers them."""
    return {name.lower() for name in (record.name, *record.aliases, record.container[:12]) if name}


def _checked(address: str, version: int) -> str:
    """In its shortest form, so that equal addresses are equal text; empty where it is none of this version."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    return str(parsed) if parsed.version == version else ""
