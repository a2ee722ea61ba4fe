"""Who has which name, and who may ask: pure, in memory, safe in threads.

A query comes in through the socket of one network's namespace, from the address of a container there. Its names
are those of all networks that this container is in; nobody else's networks answer to it.
"""

from __future__ import annotations

import ipaddress
import threading
from dataclasses import dataclass
from typing import Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from machinectl_agent.network.records import EndpointRecord, NetworkRecord


@dataclass(frozen=True)
class Client:
    """Who asks: the networks whose names answer, and whether other names may be forwarded for it."""

    networks: Tuple[str, ...]
    forward: bool


class Zone:
    """Endpoints are added and dropped one by one or by the network; a lookup is two dictionaries deep."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._networks: Dict[str, NetworkRecord] = {}
        self._endpoints: Dict[str, Dict[str, EndpointRecord]] = {}
        self._names: Dict[str, Dict[str, Set[str]]] = {}
        """Network → lower-case name → endpoint ids."""
        self._addresses: Dict[str, Dict[str, str]] = {}
        self._sandboxes: Dict[str, Tuple[str, ...]] = {}
        self._dead: Set[str] = set()

    def set_networks(self, records: Iterable[NetworkRecord]) -> None:
        with self._lock:
            self._networks = {one.id: one for one in records}

    def set_endpoints(self, network: str, records: Iterable[EndpointRecord]) -> None:
        with self._lock:
            for one in list(self._endpoints.get(network, ())):
                self._drop(network, one)
            for record in records:
                self._put(record)

    def put_endpoint(self, record: EndpointRecord) -> None:
        with self._lock:
            self._drop(record.network, record.id)
            self._put(record)

    def drop_endpoint(self, network: str, endpoint: str) -> None:
        with self._lock:
            self._drop(network, endpoint)

    def drop_network(self, network: str) -> None:
        with self._lock:
            for table in (self._endpoints, self._names, self._addresses):
                table.pop(network, None)

    def set_dead(self, machines: Iterable[str]) -> None:
        """The names of these machines' endpoints are withheld."""
        with self._lock:
            self._dead = set(machines)

    def set_sandboxes(self, sandboxes: Mapping[str, Sequence[str]]) -> None:
        """Local endpoint id → ids of all networks that its container is in."""
        with self._lock:
            self._sandboxes = {endpoint: tuple(networks) for endpoint, networks in sandboxes.items()}

    def client(self, network: Optional[str], source: str) -> Client:
        """`network` None: the host's own socket, which knows no names. A source that nobody knows counts as one in
        that network alone. Forwarding is for containers with a network that is not internal: names must not become
        a way out of an isolated one (CVE-2024-29018)."""
        if network is None:
            return Client((), forward=True)
        with self._lock:
            endpoint = self._addresses.get(network, {}).get(source, "")
            networks = self._sandboxes.get(endpoint, (network,))
            records = [self._networks.get(one) for one in networks]
            return Client(tuple(networks), any(one is None or not one.internal for one in records))

    def find(self, client: Client, name: str) -> List[EndpointRecord]:
        """Endpoints with this name, `NAME` or `NAME.NETWORK`, of machines that are not withheld."""
        wanted = name.rstrip(".").lower()
        with self._lock:
            found: Dict[str, EndpointRecord] = {}
            for network in client.networks:
                record = self._networks.get(network)
                names = [wanted]
                if record and record.name and wanted.endswith(f".{record.name.lower()}"):
                    names.append(wanted[: -len(record.name) - 1])
                for one in names:
                    for endpoint in self._names.get(network, {}).get(one, ()):
                        found[endpoint] = self._endpoints[network][endpoint]
            return [one for one in found.values() if one.machine not in self._dead]

    def reverse(self, client: Client, address: str) -> Tuple[bool, str]:
        """Whether the address is in one of the client's networks, and `NAME.NETWORK` of who has it."""
        with self._lock:
            for network in client.networks:
                record = self._networks.get(network)
                endpoint = self._addresses.get(network, {}).get(address)
                if endpoint and record:
                    return True, f"{self._endpoints[network][endpoint].name or endpoint[:12]}.{record.name}"
                if record and any(_inside(address, pool.subnet) for pool in record.pools):
                    return True, ""
        return False, ""

    def _put(self, record: EndpointRecord) -> None:
        self._endpoints.setdefault(record.network, {})[record.id] = record
        for name in _names(record):
            self._names.setdefault(record.network, {}).setdefault(name, set()).add(record.id)
        for address in (record.ip, record.ip6):
            if address:
                self._addresses.setdefault(record.network, {})[address] = record.id

    def _drop(self, network: str, endpoint: str) -> None:
        record = self._endpoints.get(network, {}).pop(endpoint, None)
        if record is None:
            return
        names, addresses = self._names.get(network, {}), self._addresses.get(network, {})
        for name in _names(record):
            names[name].discard(endpoint)
            if not names[name]:
                del names[name]
        for address in (record.ip, record.ip6):
            if addresses.get(address) == endpoint:
                del addresses[address]


def _names(record: EndpointRecord) -> Set[str]:
    return {name.lower() for name in (record.name, *record.aliases, record.container[:12]) if name}


def _inside(address: str, subnet: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(subnet)
