"""Who has which name, and who may ask: pure, in memory, safe in threads.

A query comes in through the socket of one network's namespace, from the address of a container there. Names of all
networks that this container is in answer it; those of other networks do not exist for it.
"""

from __future__ import annotations

import threading
from typing import Dict, FrozenSet, Iterable, List, Mapping, Optional, Sequence, Tuple

from machinectl_agent.network.dns.index import Index, Ring
from machinectl_agent.network.dns.reverse import Subnets, parse_reverse
from machinectl_agent.network.dns.verdict import Answer, Found, Lookup, Verdict
from machinectl_agent.network.records import EndpointRecord, NetworkRecord

MOST = 1000
"""Addresses in one answer: 28 KB of AAAA, within what TCP carries (64 KB)."""

_FAMILIES = {"A": ("A",), "AAAA": ("AAAA",), "ANY": ("A", "AAAA")}


class Zone:
    """A lookup takes as long with 20,000 endpoints as with two, and so does the coming and going of one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: Dict[str, NetworkRecord] = {}
        self._suffixes: Dict[str, str] = {}
        """Network id → `.name` in lower case. Qualified names are not in the index: a rename costs nothing."""
        self._subnets = Subnets(())
        self._indexes: Dict[str, Index] = {}
        self._sandboxes: Dict[str, Tuple[str, ...]] = {}
        self._dead: FrozenSet[str] = frozenset()

    def set_networks(self, records: Iterable[NetworkRecord]) -> None:
        """All of the cluster: subnets of networks that are not on this machine count, too."""
        known = {one.id: one for one in records}
        suffixes = {one.id: f".{one.name.lower()}" for one in known.values() if one.name}
        subnets = Subnets(pool.subnet for one in known.values() for pool in one.pools)
        with self._lock:
            self._records, self._suffixes, self._subnets = known, suffixes, subnets

    def set_endpoints(self, network: str, records: Iterable[EndpointRecord]) -> None:
        """All of a network; queries are answered from the old ones meanwhile."""
        index = Index(records)
        with self._lock:
            self._indexes[network] = index

    def put_endpoint(self, record: EndpointRecord) -> None:
        with self._lock:
            self._indexes.setdefault(record.network, Index()).put(record)

    def drop_endpoint(self, network: str, endpoint: str) -> None:
        with self._lock:
            if network in self._indexes:
                self._indexes[network].drop(endpoint)

    def drop_network(self, network: str) -> None:
        """Its endpoints are no longer known here."""
        with self._lock:
            self._indexes.pop(network, None)

    def set_dead(self, machines: Iterable[str]) -> None:
        """Ids of machines whose endpoints' names are withheld. Those of our own containers never are: to them
        they are alive, whatever has become of our lease."""
        with self._lock:
            self._dead = frozenset(machines)

    def set_sandboxes(self, sandboxes: Mapping[str, Sequence[str]]) -> None:
        """Local endpoint id → ids of all networks that its container is in."""
        known = {endpoint: tuple(networks) for endpoint, networks in sandboxes.items()}
        with self._lock:
            self._sandboxes = known

    def answer(self, network: Optional[str], source: str, name: str, kind: str) -> Answer:
        """`network`: id of the one whose socket was asked, None for the host's own. `name`: without the last dot.
        `kind`: A, AAAA, PTR, ANY or any other of dnslib's QTYPE."""
        name = name.lower()
        with self._lock:
            networks = () if network is None else self._networks_of(network, source)
            address = parse_reverse(name)
            own = self._reverse(networks, address, kind) if address else self._forward(networks, name, kind)
            if own is not None:
                return own
            if network is None or not self._isolated(networks):
                return Answer(Verdict.FORWARD)
        return Answer(Verdict.REFUSED)

    def lookup(self, name: str, network: str = "") -> Lookup:
        """Who has a name (or an address), in all networks that are known here or in one (id or name)."""
        wanted = name.rstrip(".").lower()
        with self._lock:
            networks = [one for one in self._indexes if not network or network in (one, self._name(one))]
            if network and not networks:
                return Lookup((), f"this machine has no container in a network {network}")
            found: Dict[str, Found] = {}
            for one in networks:
                at = self._indexes[one].at(wanted)
                rings = self._rings([one], wanted)
                for record in [at] if at else [record for ring in rings for record in ring]:
                    found[record.id] = self._found(record)
        if not found:
            return Lookup((), f"no endpoint in {network or 'the networks of this machine'} has it")
        if all(one.withheld for one in found.values()):
            return Lookup(tuple(found.values()), "withheld: the machines that have it are dead")
        return Lookup(tuple(found.values()))

    def _networks_of(self, network: str, source: str) -> Tuple[str, ...]:
        """Of the client's container, the one it asked through first. A source that nobody knows (a container that
        is just starting, or one of another machine, which has its own resolver) is in this network alone."""
        index = self._indexes.get(network)
        client = index.at(source) if index else None
        others = self._sandboxes.get(client.id, ()) if client else ()
        return (network, *(one for one in others if one != network))

    def _isolated(self, networks: Sequence[str]) -> bool:
        """Whether the client has only internal networks: nothing of it may leave the machine, names neither. Else
        data goes out as names below a domain of the attacker's (CVE-2024-29018: Docker's own resolver forwarded
        for such containers from the host's namespace). A network that is not known yet counts as internal."""
        records = [self._records.get(one) for one in networks]
        return all(one is None or one.internal for one in records)

    def _rings(self, networks: Sequence[str], name: str) -> List[Ring]:
        """NAME and NAME.NETWORK in each of them; a container's own name may have dots, too."""
        found = []
        for network in networks:
            index = self._indexes.get(network)
            if index is None:
                continue
            suffix = self._suffixes.get(network)
            found.append(index.named(name))
            if suffix and name.endswith(suffix):
                found.append(index.named(name[: -len(suffix)]))
        return [ring for ring in found if ring is not None]

    def _forward(self, networks: Sequence[str], name: str, kind: str) -> Optional[Answer]:
        """None: the name is not ours. One of a dead machine still is: a server elsewhere must not answer it."""
        rings = self._rings(networks, name)
        if not rings:
            return None
        values: Dict[Tuple[str, str], None] = {}
        alive = False
        for family in _FAMILIES.get(kind, ("",)):
            for ring in rings:
                for record in ring.turned(family):
                    if self._withheld(record):
                        continue
                    alive = True
                    value = {"A": record.ip, "AAAA": record.ip6}.get(family, "")
                    if value:
                        values[(family, value)] = None
                    if not family or len(values) >= MOST:
                        break
        if values:
            return Answer(Verdict.FOUND, tuple(values)[:MOST])
        return Answer(Verdict.NO_DATA if alive else Verdict.NO_NAME)

    def _reverse(self, networks: Sequence[str], address: str, kind: str) -> Optional[Answer]:
        """None: no address of an overlay network. Those of other networks than the client's have no names."""
        for network in networks:
            index = self._indexes.get(network)
            record = index.at(address) if index else None
            if record is None or self._withheld(record):
                continue
            name = f"{record.name or record.container[:12]}.{self._name(network)}"
            if _fits(name):
                found = (("PTR", name),) if kind in ("PTR", "ANY") else ()
                return Answer(Verdict.FOUND if found else Verdict.NO_DATA, found)
        return Answer(Verdict.NO_NAME) if address in self._subnets else None

    def _withheld(self, record: EndpointRecord) -> bool:
        return record.machine in self._dead and record.id not in self._sandboxes

    def _name(self, network: str) -> str:
        record = self._records.get(network)
        return record.name if record else ""

    def _found(self, record: EndpointRecord) -> Found:
        name, withheld = self._name(record.network), self._withheld(record)
        return Found(
            record.id, record.machine, record.network, name, record.name, record.ip, record.ip6, withheld
        )


def _fits(name: str) -> bool:
    """Docker lets a container have a name that DNS can't carry (RFC 1035, 2.3.4)."""
    text = name.encode()
    return len(text) <= 253 and all(0 < len(label) <= 63 for label in text.split(b"."))
