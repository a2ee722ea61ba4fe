"""What is in etcd: frozen records, their JSON, and where each is kept. No I/O here.

    machines/ID                 MachineRecord     static; the VTEP address of a machine is here and nowhere else
    alive/ID                    (empty)           on a lease: the machine's agent is running
    settled/ID                  cluster id        the machine has put into this cluster what it has (settling.py)
    names/machine/NAME          ID
    networks/ID                 NetworkRecord     ID is the Docker network id on the machine that made it first
    names/network/NAME          ID
    vnis/NUMBER                 network ID
    pools/POOL                  PoolRecord        POOL is a CIDR with `_` for `/`: 10.77.1.0_24
    addresses/POOL/IP           AddressRecord     no lease: a partition must never free an address that is in use
    endpoints/NETWORK/ENDPOINT  EndpointRecord    ENDPOINT is Docker's endpoint id
    etcd/endpoints              EtcdRecord        where etcd is: written by `machinectl etcd add` and `remove`
    probes/ID, heard/ID/PEER    see probe/        on a lease, while `network doctor` runs on machine ID
    owned/MACHINE/REST          (empty)           the key REST is this machine's to free: its addresses and endpoints,
                                                  its pools without a network, its networks without a name. So that
                                                  nobody reads the whole cluster to find what is his

All of it is below one prefix (default /machinectl/v1/), so that an etcd can be shared. Unknown JSON keys are ignored:
a newer agent may write more.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Dict, Mapping, Tuple, Type, TypeVar

from machinectl_agent.network.paths import PREFIX

DRIVER = "machinectl"
"""Docker's name of the network driver and of the IPAM driver."""

ID_OPTION = "machinectl.id"
"""Driver and IPAM option by which a replica of a network names the network's id in etcd."""

Record = TypeVar("Record")


@dataclass(frozen=True)
class MachineRecord:
    """A machine that is a member."""

    id: str
    """Random, minted by the controller when the machine joined first, kept in its store."""
    name: str
    vtep: str
    """Underlay address, IPv4 or IPv6, that peers send VXLAN packets to."""
    agent: str = ""
    engine: str = ""


@dataclass(frozen=True)
class Pool:
    """One subnet of a network; addresses as text, `range` and `gateway` may be empty."""

    subnet: str
    range: str = ""
    """CIDR inside the subnet that containers get their addresses from."""
    gateway: str = ""
    """Address without a prefix length; reserved, and on no interface."""


@dataclass(frozen=True)
class NetworkRecord:
    """A network as all machines have it."""

    id: str
    name: str
    """Empty until Docker's event has told it: CreateNetwork does not."""
    vni: int
    pools: Tuple[Pool, ...]
    mtu: int = 0
    """Of the containers' interfaces; 0: the machine's underlay less the headers (50 bytes, IPv6 70)."""
    internal: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    on: Tuple[str, ...] = ()
    """Names of the machines that have it; empty: all members."""
    creator: str = ""
    """Machine id."""
    created: str = ""
    """RFC 3339, UTC."""


@dataclass(frozen=True)
class PoolRecord:
    """A subnet that is taken. `network` is empty between RequestPool and CreateNetwork."""

    subnet: str
    range: str
    machine: str
    """Id of the machine that asked for it."""
    network: str = ""
    token: str = ""


@dataclass(frozen=True)
class AddressRecord:
    """An address that is taken."""

    machine: str
    kind: str = "endpoint"
    """`endpoint`, `gateway` or `auxiliary`; the latter two belong to the network, not to the machine."""
    endpoint: str = ""
    """Docker's endpoint id; empty between RequestAddress and CreateEndpoint."""
    token: str = ""


@dataclass(frozen=True)
class EndpointRecord:
    """A container's interface in a network."""

    id: str
    network: str
    machine: str
    ip: str
    """IPv4 without a prefix length; empty where the network has none."""
    ip6: str
    mac: str
    name: str = ""
    """Container name; empty until Join."""
    aliases: Tuple[str, ...] = ()
    container: str = ""
    """Container id."""


@dataclass(frozen=True)
class EtcdRecord:
    """Where etcd's members are."""

    endpoints: Tuple[str, ...]
    """Client URLs."""


class Layout:
    """Where each record is kept, below one prefix."""

    def __init__(self, prefix: str = PREFIX) -> None:
        self.prefix = prefix if prefix.endswith("/") else prefix + "/"
        self.machines = f"{self.prefix}machines/"
        self.alives = f"{self.prefix}alive/"
        self.settled = f"{self.prefix}settled/"
        self.machine_names = f"{self.prefix}names/machine/"
        self.networks = f"{self.prefix}networks/"
        self.network_names = f"{self.prefix}names/network/"
        self.vnis = f"{self.prefix}vnis/"
        self.pools = f"{self.prefix}pools/"
        self.probes = f"{self.prefix}probes/"
        self.etcd = f"{self.prefix}etcd/"
        self.etcd_endpoints = f"{self.etcd}endpoints"

    def machine(self, machine: str) -> str:
        return self.machines + machine

    def alive(self, machine: str) -> str:
        return self.alives + machine

    def settles(self, machine: str) -> str:
        return self.settled + machine

    def machine_name(self, name: str) -> str:
        return self.machine_names + name

    def network(self, network: str) -> str:
        return self.networks + network

    def network_name(self, name: str) -> str:
        return self.network_names + name

    def vni(self, number: int) -> str:
        return f"{self.vnis}{number}"

    def heard(self, machine: str) -> str:
        """Prefix of what peers heard of this machine's probes."""
        return f"{self.prefix}heard/{machine}/"

    def pool(self, subnet: str) -> str:
        return self.pools + pool_key(subnet)

    def addresses(self, subnet: str) -> str:
        """Prefix of a pool's addresses."""
        return f"{self.prefix}addresses/{pool_key(subnet)}/"

    def address(self, subnet: str, ip: str) -> str:
        return self.addresses(subnet) + ip

    def endpoints(self, network: str) -> str:
        """Prefix of a network's endpoints."""
        return f"{self.prefix}endpoints/{network}/"

    def endpoint(self, network: str, endpoint: str) -> str:
        return self.endpoints(network) + endpoint

    def owned(self, machine: str) -> str:
        """Prefix of the marks of what is a machine's to free."""
        return f"{self.prefix}owned/{machine}/"

    def mark(self, machine: str, key: str) -> str:
        """The mark for one key of this layout."""
        return self.owned(machine) + key[len(self.prefix) :]

    def marked(self, machine: str, mark: str) -> str:
        """The key that a mark stands for."""
        return self.prefix + mark[len(self.owned(machine)) :]


def pool_key(subnet: str) -> str:
    return subnet.replace("/", "_")


def encode(record: Any) -> bytes:
    """JSON of any record; empty fields are left out."""
    document = {
        key: value for key, value in dataclasses.asdict(record).items() if value not in ("", (), {}, 0, False)
    }
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def decode(shape: Type[Record], value: bytes) -> Record:
    """Raises ValueError for what is no such record. Missing text fields are empty."""
    document = json.loads(value)
    if not isinstance(document, dict):
        raise ValueError(f"no {shape.__name__}: {value[:80]!r}")  # noqa: TRY004 - one error for all bad text
    built: Record = _build(shape, document)
    return built


def _build(shape: Any, document: Mapping[str, Any]) -> Any:
    values: Dict[str, Any] = {}
    for one in dataclasses.fields(shape):
        if one.name in document:
            values[one.name] = document[one.name]
        elif one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING:
            values[one.name] = {"int": 0, "str": ""}.get(str(one.type), ())
    for name in ("aliases", "on", "endpoints"):
        if name in values:
            values[name] = tuple(values[name])
    if shape is NetworkRecord:
        values["pools"] = tuple(_build(Pool, pool) for pool in values["pools"])
    return shape(**values)
