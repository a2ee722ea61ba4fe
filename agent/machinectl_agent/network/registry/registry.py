"""All that the machines share, kept in etcd; each change is one transaction. The parts, joined into one class.

    pools       subnets; no two networks overlap
    addresses   one key each: created or refused
    networks    record, name, VNI, subnets: all or nothing
    endpoints   bound to their addresses
    machines    members, and what is left of dead ones
    collect     ours in etcd ⇄ what is here

Every method may raise KvUnavailable (nobody knows whether a write was done; a collect finds out later) and KvRefused,
and the RegistryErrors that it names. Safe in threads. Nothing reads what grows with all containers of the cluster:
only the lists of machines, of networks and of their subnets are read whole.
"""

from __future__ import annotations

import threading
import time
from datetime import datetime, timezone
from typing import Callable, List, Mapping, Optional, Sequence, Set

from machinectl_agent.kv.interface import Kv
from machinectl_agent.network.records import (
    EndpointRecord,
    Layout,
    MachineRecord,
    NetworkRecord,
    Pool,
    PoolRecord,
)
from machinectl_agent.network.registry.addresses import Addresses
from machinectl_agent.network.registry.collect import GRACE, Collect, Collected
from machinectl_agent.network.registry.endpoints import Endpoints
from machinectl_agent.network.registry.machines import Forgotten, Machines
from machinectl_agent.network.registry.networks import Networks
from machinectl_agent.network.registry.pools import Pools
from machinectl_agent.network.registry.store import Store

PATIENCE = 10.0
"""Seconds that a call tries to learn the outcome of its write."""


class Registry:
    """One machine's."""

    def __init__(
        self,
        kv: Kv,
        layout: Layout,
        machine: str,
        *,
        pools: Sequence[str] = (),
        pool_size: int = 24,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`machine`: its id. `pools`: CIDRs that subnets of prefix length `pool_size` are chosen from, IPv6 ones
        always of 64; for a family without one the default. `clock`: seconds, for what waits between two calls."""
        self._machine = machine
        self._store = store = Store(kv, layout, machine, patience=patience, clock=clock)
        self._pools = Pools(store, pools, pool_size)
        self._addresses = Addresses(store)
        self._networks = Networks(store)
        self._endpoints = Endpoints(store, self._networks)
        self._machines = Machines(store, self._networks)
        self._collect = Collect(store, self._pools, self._networks, self._endpoints, clock)
        self._collecting = threading.Lock()

    @property
    def cluster(self) -> int:
        """Id of the cluster that carried out the last transaction; 0: none yet."""
        return self._store.cluster

    def settle(self, cluster: int) -> None:
        """Says that all that this machine has is in this cluster."""
        self._machines.settle(cluster)

    def register(self, record: MachineRecord) -> None:
        """New, renamed, or with another VTEP. Raises NameTaken."""
        self._machines.register(record)

    def machines(self) -> List[MachineRecord]:
        """All members, alive or not."""
        return self._machines.all()

    def alive(self) -> Set[str]:
        """Ids of the machines whose agent runs."""
        return self._machines.alive()

    def forget(self, machine: str, *, force: bool = False) -> Forgotten:
        """Frees everything of a machine. Raises MachineAlive, unless `force`."""
        return self._machines.forget(machine, force=force)

    def request_pool(
        self,
        subnet: str = "",
        range: str = "",
        *,
        v6: bool = False,
        network: str = "",
        avoid: Sequence[str] = (),
    ) -> PoolRecord:
        """A subnet, or a free one of the default pools; `range`: the part of it that addresses are chosen from.
        `network`: a replica of that one, which has the subnet already. `avoid`: CIDRs that this host uses itself.
        The same subnet asked again by the same machine is the same record. Raises BadSubnet, PoolTaken, PoolFull,
        PoolGone."""
        return self._pools.request(subnet, range, v6=v6, network=network, avoid=avoid)

    def release_pool(self, subnet: str) -> None:
        """With all its addresses. Nothing where a network has it, or another machine asked for it."""
        self._pools.release(subnet)

    def request_address(
        self, subnet: str, address: str = "", *, kind: str = "endpoint", token: str = ""
    ) -> str:
        """`10.77.1.2/24`. `gateway` and `auxiliary` addresses are shared by all machines of the network; asking for a
        gateway without an address gives the one that there is. Raises BadSubnet, AddressTaken, PoolFull, PoolGone."""
        return self._addresses.request(subnet, address, kind=kind, token=token)

    def release_address(self, subnet: str, address: str) -> None:
        """Only ours, and never one that an endpoint has: that is freed with its endpoint."""
        self._addresses.release(subnet, address)

    def create_network(
        self,
        *,
        network: str,
        name: str,
        pools: Sequence[Pool],
        mtu: int = 0,
        internal: bool = False,
        labels: Optional[Mapping[str, str]] = None,
        options: Optional[Mapping[str, str]] = None,
        on: Sequence[str] = (),
        vni: int = 0,
    ) -> NetworkRecord:
        """`name` may come later. `vni` 0: a random free one. What has this id already is returned as it is. A
        range that is not given is the one that the subnet was requested with. Raises PoolTaken, NameTaken,
        VniTaken, AddressTaken (a gateway), BadSubnet."""
        return self._networks.create(
            NetworkRecord(
                id=network,
                name=name,
                vni=vni,
                pools=tuple(pools),
                mtu=mtu,
                internal=internal,
                labels=dict(labels or {}),
                options=dict(options or {}),
                on=tuple(on),
                creator=self._machine,
                created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            )
        )

    def name_network(self, network: str, name: str) -> None:
        """Gives or changes it. Raises NetworkGone, NameTaken."""
        self._networks.name(network, name)

    def delete_network(self, network: str) -> None:
        """With name, VNI, subnets and their addresses; nothing where it is gone already. Raises NetworkInUse, whose
        `endpoints` are those of all machines."""
        self._networks.delete(network)

    def networks(self) -> List[NetworkRecord]:
        """All of them."""
        return self._networks.all()

    def network(self, network: str) -> Optional[NetworkRecord]:
        """By its id."""
        return self._networks.get(network)

    def find_network(self, wanted: str) -> Optional[NetworkRecord]:
        """By name, id, or the beginning of an id that fits no other."""
        return self._networks.find(wanted)

    def put_endpoint(self, record: EndpointRecord) -> None:
        """Ours, with its addresses: requested ones or free ones. Raises NetworkGone, AddressTaken, BadSubnet."""
        self._endpoints.put(record)

    def update_endpoint(
        self, network: str, endpoint: str, *, name: str, aliases: Sequence[str], container: str
    ) -> None:
        """Its names. Raises EndpointGone."""
        self._endpoints.update(network, endpoint, name=name, aliases=aliases, container=container)

    def delete_endpoint(self, network: str, endpoint: str) -> None:
        """Ours, with its addresses; nothing where it is gone already."""
        self._endpoints.delete(network, endpoint)

    def endpoints(self, network: str) -> List[EndpointRecord]:
        """Of one network, on all machines."""
        return self._endpoints.of(network)

    def collect(
        self,
        local: Mapping[str, EndpointRecord],
        *,
        networks: Optional[Mapping[str, NetworkRecord]] = None,
        grace: float = GRACE,
    ) -> Collected:
        """`local`: the endpoints that this machine has, by id; `networks`: the networks that it has, by their id in
        etcd. Frees what is ours in etcd and not here, when it was so already `grace` seconds ago; puts back what is
        here and not in etcd; names what it can't put back."""
        with self._collecting:
            return self._collect.run(local, networks or {}, grace)
