"""Three machines do what dockerd makes them do, in any order, over a store that loses answers, carries out writes
much later, and with agents that are killed: no address has two owners, no subnets overlap, nothing leaks."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from machinectl_agent.kv.interface import KvUnavailable
from machinectl_agent.network.records import (
    AddressRecord,
    EndpointRecord,
    Layout,
    NetworkRecord,
    Pool,
    PoolRecord,
    decode,
)
from machinectl_agent.network.registry import store
from machinectl_agent.network.registry.errors import (
    AddressTaken,
    NameTaken,
    NetworkGone,
    NetworkInUse,
    PoolFull,
    PoolGone,
    PoolTaken,
)
from machinectl_agent.network.registry.registry import Registry
from tests.unit.kv_memory import KvMemory, Space

GRACE = 60.0
MACHINES = ("a", "b", "c")
LOSSES = ("before", "after", "late")
SUBNETS = ("", "10.5.1.0/29", "10.5.1.0/28", "10.5.1.8/29", "10.5.0.0/16")
LAYOUT = Layout()


@dataclass
class Given:
    """An address that dockerd on a machine was told it has."""

    machine: str
    network: str
    subnet: str
    ip: str
    since: float
    endpoint: str = ""
    is_over: bool = False


class Cluster(RuleBasedStateMachine):
    given: Bundle[Given] = Bundle("given")

    @initialize()
    def begin(self) -> None:
        self.now = 1000.0
        self.space = Space()
        self.kvs: dict[str, KvMemory] = {}
        self.registries: dict[str, Registry] = {}
        self.held: list[Given] = []
        self.endpoints: dict[str, Given] = {}
        self.docker: dict[str, dict[str, NetworkRecord]] = {one: {} for one in MACHINES}
        self.count = 0
        for machine in MACHINES:
            self.restart(machine)
        self.make("a", "10.5.1.0/29")

    # what befalls them

    @rule(machine=st.sampled_from(MACHINES))
    def restart(self, machine: str) -> None:
        """kill -9: all that the process remembered is gone."""
        self.kvs[machine] = KvMemory(self.space)
        # one gives up at once, the others find out
        patience = 0.0 if machine == "a" else 5.0
        self.registries[machine] = Registry(
            self.kvs[machine], LAYOUT, machine, patience=patience, clock=lambda: self.now
        )

    @rule(machine=st.sampled_from(MACHINES), losses=st.lists(st.sampled_from(LOSSES), min_size=1, max_size=3))
    def lose(self, machine: str, losses: list[str]) -> None:
        self.kvs[machine].lose(*losses)

    @rule()
    def thaw(self) -> None:
        if self.space.delayed:
            self.space.thaw()

    @rule(seconds=st.sampled_from([1.0, 30.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    # what dockerd does

    @rule(machine=st.sampled_from(MACHINES), subnet=st.sampled_from(SUBNETS))
    def make(self, machine: str, subnet: str) -> None:
        registry, pool = self.registries[machine], None
        self.count += 1
        network = f"{self.count:064x}"
        try:
            pool = registry.request_pool(subnet)
            gateway = registry.request_address(pool.subnet, kind="gateway").partition("/")[0]
            pools = [Pool(pool.subnet, gateway=gateway)]
            made = registry.create_network(network=network, name="", pools=pools)
        except (KvUnavailable, PoolTaken, PoolGone):
            if pool:
                with contextlib.suppress(KvUnavailable):
                    registry.release_pool(pool.subnet)
            return
        self.docker[machine][network] = made
        with contextlib.suppress(KvUnavailable, NameTaken):
            registry.name_network(network, f"n{self.count % 3}")

    @rule(machine=st.sampled_from(MACHINES), number=st.integers(0, 5))
    def remove(self, machine: str, number: int) -> None:
        for network in sorted(self.docker[machine])[number : number + 1]:
            with contextlib.suppress(KvUnavailable, NetworkInUse):
                self.registries[machine].delete_network(network)
                assert not [one for one in self.endpoints.values() if one.network == network]
                self.docker[machine].pop(network)

    @rule(target=given, machine=st.sampled_from(MACHINES), number=st.integers(0, 5), fixed=st.integers(0, 7))
    def request(self, machine: str, number: int, fixed: int) -> Given | MultipleResults[Given]:
        networks = self.networks()
        if not networks:
            return multiple()
        network = networks[number % len(networks)]
        subnet = network.pools[0].subnet
        address = str(ipaddress.ip_network(subnet)[fixed]) if 2 <= fixed <= 5 else ""
        try:
            found = self.registries[machine].request_address(subnet, address).partition("/")[0]
        except (KvUnavailable, AddressTaken, PoolFull):
            return multiple()
        rivals = [one for one in self.held if one.ip == found and not one.is_over]
        assert not rivals, f"{found} is given to {machine}, and {rivals} has it"
        assert found != network.pools[0].gateway
        self.held.append(Given(machine, network.id, subnet, found, self.now))
        return self.held[-1]

    @rule(one=given)
    def attach(self, one: Given) -> None:
        """As the driver: first remembered here, then written; taken back where that fails."""
        if one.is_over or one.endpoint:
            return
        self.count += 1
        one.endpoint = f"e{self.count}"
        try:
            self.registries[one.machine].put_endpoint(self.record(one))
            self.endpoints[one.endpoint] = one
        except (KvUnavailable, NetworkGone, AddressTaken):
            self.detach(one)

    @rule(one=given)
    def name(self, one: Given) -> None:
        if one.endpoint in self.endpoints:
            with contextlib.suppress(KvUnavailable):
                self.registries[one.machine].update_endpoint(
                    one.network, one.endpoint, name=f"web-{one.endpoint}", aliases=(), container="c"
                )

    @rule(one=consumes(given), is_released=st.booleans())
    def detach(self, one: Given, is_released: bool = True) -> None:
        """`is_released`: dockerd comes as far as ReleaseAddress."""
        if one.is_over:
            return
        registry, one.is_over = self.registries[one.machine], True
        if one.endpoint:
            self.endpoints.pop(one.endpoint, None)
            with contextlib.suppress(KvUnavailable):
                registry.delete_endpoint(one.network, one.endpoint)
        if is_released:
            with contextlib.suppress(KvUnavailable):
                registry.release_address(one.subnet, one.ip)

    @rule(machine=st.sampled_from(MACHINES))
    def collect(self, machine: str) -> None:
        for one in self.held:
            # nobody may keep an address for so long without using it
            if one.machine == machine and not one.endpoint and self.now - one.since >= GRACE:
                one.is_over = True
        local = {one.endpoint: self.record(one) for one in self.endpoints.values() if one.machine == machine}
        with contextlib.suppress(KvUnavailable):
            done = self.registries[machine].collect(local, networks=self.docker[machine], grace=GRACE)
            assert not done.conflicts

    # what must be so at any time

    @invariant()
    def what_was_given_goes_with_its_network(self) -> None:
        """An address that is not bound yet does not keep a network; CreateEndpoint finds it gone."""
        for one in self.held if hasattr(self, "held") else ():
            if LAYOUT.network(one.network) not in self.space.keys:
                assert one.endpoint not in self.endpoints
                one.is_over = True

    @invariant()
    def no_subnets_overlap(self) -> None:
        if not hasattr(self, "space"):
            return
        pools = [decode(PoolRecord, one.value) for one in self.space.below(LAYOUT.pools)]
        subnets = [ipaddress.ip_network(one.subnet) for one in pools]
        assert not [(x, y) for x in subnets for y in subnets if x is not y and x.overlaps(y)]
        owners = {pool.subnet: network.id for network in self.networks() for pool in network.pools}
        assert owners == {one.subnet: one.network for one in pools if one.network}
        vnis = {int(one.key.rpartition("/")[2]): one.value.decode() for one in self.space.below(LAYOUT.vnis)}
        assert vnis == {network.vni: network.id for network in self.networks()}
        names = {
            one.key.rpartition("/")[2]: one.value.decode() for one in self.space.below(LAYOUT.network_names)
        }
        assert names == {network.name: network.id for network in self.networks() if network.name}

    @invariant()
    def endpoints_have_their_addresses(self) -> None:
        if not hasattr(self, "space"):
            return
        there = {}
        for network in self.networks():
            for one in self.space.below(LAYOUT.endpoints(network.id)):
                record = decode(EndpointRecord, one.value)
                there[record.id] = record
                found = self.space.keys[LAYOUT.address(network.pools[0].subnet, record.ip)]
                address = decode(AddressRecord, found.value)
                assert (address.machine, address.endpoint) == (record.machine, record.id)
        for endpoint, given in self.endpoints.items():
            assert (there[endpoint].machine, there[endpoint].ip) == (given.machine, given.ip)

    def teardown(self) -> None:
        """All containers and networks go; what faults have left behind goes with the collects."""
        if not hasattr(self, "space"):
            return
        while self.space.delayed:
            self.space.thaw()
        for machine in MACHINES:
            self.restart(machine)
        for one in self.held:
            self.detach(one, is_released=False)
        for _ in range(2):
            for machine in MACHINES:
                self.registries[machine].collect({}, grace=GRACE)
            self.now += GRACE
        left = [one.key for one in self.space.below(f"{LAYOUT.prefix}owned/")]
        assert left == []
        assert self.space.below(f"{LAYOUT.prefix}endpoints/") == []
        for network in self.networks():
            self.registries["a"].delete_network(network.id)
        assert self.space.keys == {}

    def networks(self) -> list[NetworkRecord]:
        return [decode(NetworkRecord, one.value) for one in self.space.below(LAYOUT.networks)]

    def record(self, one: Given) -> EndpointRecord:
        return EndpointRecord(one.endpoint, one.network, one.machine, one.ip, "", "02:42")


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(store, "_PAUSE", 0.0)
    yield


TestCluster = Cluster.TestCase
TestCluster.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
