"""The registry over a store in memory, whose answers can be lost."""

from __future__ import annotations

import pytest

from machinectl_agent.kv.interface import KvUnavailable
from machinectl_agent.network.records import Layout, Pool
from machinectl_agent.network.registry.errors import AddressTaken
from machinectl_agent.network.registry.registry import Registry
from tests.registry_suite import NETWORK, OTHER, Join, RegistrySuite, attach, endpoint, make
from tests.unit.kv_memory import KvMemory, Space


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def space() -> Space:
    return Space()


@pytest.fixture
def kv(space: Space) -> KvMemory:
    return KvMemory(space)


@pytest.fixture
def layout() -> Layout:
    return Layout()


@pytest.fixture
def machine(space: Space, clock: Clock) -> Join:
    def join(name: str, kv: KvMemory | None = None, **options) -> Registry:
        return Registry(kv or KvMemory(space), Layout(), name, clock=clock, **options)

    return join


@pytest.fixture
def leftovers(space: Space):
    return lambda: sorted(space.keys)


@pytest.fixture
def save(space: Space):
    return space.save


@pytest.fixture
def restore(space: Space):
    return space.restore


class TestRegistry(RegistrySuite):
    pass


class TestRoundTrips:
    @pytest.fixture
    def warm(self, machine: Join, kv: KvMemory) -> Registry:
        a = machine("a", kv)
        attach(a, "a", make(a))
        kv.calls.clear()
        kv.read.clear()
        return a

    def test_a_container_costs_four(self, warm: Registry, kv: KvMemory):
        address = warm.request_address("10.77.0.0/24")
        assert kv.calls.total() == 1
        made = endpoint(address, "a")
        warm.put_endpoint(made)
        assert kv.calls.total() == 2
        warm.update_endpoint(NETWORK, made.id, name="web", aliases=(), container="")
        assert kv.calls.total() == 3
        warm.delete_endpoint(NETWORK, made.id)
        assert kv.calls.total() == 4
        warm.release_address("10.77.0.0/24", made.ip)
        assert kv.calls.total() == 4
        assert kv.read == []

    def test_an_unused_address_costs_two(self, warm: Registry, kv: KvMemory):
        ip = warm.request_address("10.77.0.0/24").partition("/")[0]
        warm.release_address("10.77.0.0/24", ip)
        assert kv.calls.total() == 2

    def test_a_conflict_costs_one_more(self, warm: Registry, machine: Join, kv: KvMemory):
        rival = machine("b")
        for _ in range(20):
            rival.request_address("10.77.0.0/24")
        warm.request_address("10.77.0.0/24")
        assert kv.calls.total() == 2

    def test_a_collect_reads_what_is_its_own(
        self, warm: Registry, machine: Join, kv: KvMemory, layout: Layout
    ):
        rival = machine("b")
        for _ in range(50):
            attach(rival, "b", rival.networks()[0])
        found = {one.id: one for one in warm.endpoints(NETWORK) if one.machine == "a"}
        kv.calls.clear()
        kv.read.clear()
        assert str(warm.collect(found)) == ""
        assert kv.calls.total() == 2
        assert kv.read == [layout.owned("a")]

    def test_nothing_reads_what_grows_with_the_containers(self, machine: Join, kv: KvMemory, layout: Layout):
        """But of one network, where somebody asks for that; a large subnet's addresses only after a conflict."""
        a = machine("a", kv)
        make(a, subnet="10.5.0.0/16")
        for one in (OTHER, "c3" * 32):
            a.create_network(network=one, name=one[:4], pools=[Pool(a.request_pool().subnet)])
        made = attach(a, "a", a.networks()[0])
        a.delete_endpoint(NETWORK, made.id)
        a.collect({})
        a.delete_network(OTHER)
        a.forget("z", force=True)
        allowed = {layout.pools, layout.networks, layout.addresses("10.5.0.0/16"), layout.owned("a")}
        assert {one for one in kv.read if "owned/z/" not in one} <= allowed


class TestLostAnswers:
    @pytest.mark.parametrize("kind", ["before", "after", "late"])
    def test_every_call_finds_out_how_it_ended(self, machine: Join, space: Space, kind: str, clock: Clock):
        kv = KvMemory(space)
        a = machine("a", kv)

        def lose() -> None:
            kv.lose(kind)

        lose()
        pool = a.request_pool()
        lose()
        a.request_address(pool.subnet, "10.77.0.1", kind="gateway")
        lose()
        record = a.create_network(network=NETWORK, name="", pools=[Pool(pool.subnet, gateway="10.77.0.1")])
        lose()
        a.name_network(NETWORK, "demo")
        lose()
        address = a.request_address(pool.subnet)
        made = endpoint(address, "a")
        lose()
        a.put_endpoint(made)
        lose()
        a.update_endpoint(NETWORK, made.id, name="web", aliases=(), container="")
        assert [one.name for one in a.endpoints(NETWORK)] == ["web"]
        lose()
        a.delete_endpoint(NETWORK, made.id)
        assert a.endpoints(NETWORK) == []
        unused = a.request_address(pool.subnet).partition("/")[0]
        lose()
        a.release_address(pool.subnet, unused)
        lose()
        a.delete_network(NETWORK)
        while space.delayed:
            space.thaw()
        assert a.networks() == []
        for _ in range(2):
            a.collect({}, networks={NETWORK: record})
            clock.now += 100
        assert space.keys == {}

    def test_an_address_whose_outcome_stays_unknown_is_freed_in_the_end(
        self, machine: Join, space: Space, clock: Clock
    ):
        kv = KvMemory(space)
        a = machine("a", kv, patience=0.0)
        subnet = make(a).pools[0].subnet
        kv.lose("after")
        with pytest.raises(KvUnavailable):
            a.request_address(subnet)
        with pytest.raises(AddressTaken):
            machine("b").request_address(subnet, "10.77.0.2")
        assert a.request_address(subnet) == "10.77.0.3/24"
        a.collect({})
        clock.now += 60
        assert a.collect({}).freed_addresses == 2
        assert machine("b").request_address(subnet, "10.77.0.2") == "10.77.0.2/24"

    def test_an_explicit_one_can_be_asked_for_again_at_once(self, machine: Join, space: Space):
        kv = KvMemory(space)
        a = machine("a", kv, patience=0.0)
        subnet = make(a).pools[0].subnet
        for kind in ("before", "after", "late"):
            kv.lose(kind)
            with pytest.raises(KvUnavailable):
                a.request_address(subnet, "10.77.0.9")
            assert a.request_address(subnet, "10.77.0.9") == "10.77.0.9/24"
            while space.delayed:
                space.thaw()
            with pytest.raises(AddressTaken):
                a.request_address(subnet, "10.77.0.9")
            a.release_address(subnet, "10.77.0.9")

    def test_a_network_that_comes_late_finds_its_subnet_released(self, machine: Join, space: Space):
        kv = KvMemory(space)
        a = machine("a", kv, patience=0.0)
        pool = a.request_pool()
        kv.lose("late")
        with pytest.raises(KvUnavailable):
            a.create_network(network=NETWORK, name="demo", pools=[Pool(pool.subnet)])
        a.release_pool(pool.subnet)
        space.thaw()
        assert space.keys == {}

    def test_an_endpoint_that_comes_late_finds_its_address_released(self, machine: Join, space: Space):
        kv = KvMemory(space)
        a = machine("a", kv, patience=0.0)
        subnet = make(a).pools[0].subnet
        made = endpoint(a.request_address(subnet), "a")
        kv.lose("late")
        with pytest.raises(KvUnavailable):
            a.put_endpoint(made)
        a.delete_endpoint(NETWORK, made.id)
        a.release_address(subnet, made.ip)
        taken = machine("b").request_address(subnet, made.ip)
        space.thaw()
        assert a.endpoints(NETWORK) == []
        assert taken == f"{made.ip}/24"

    def test_etcd_away_is_said_in_time(self, machine: Join, space: Space):
        kv = KvMemory(space)
        a = machine("a", kv, patience=0.1)
        subnet = make(a).pools[0].subnet
        kv.is_away = True
        with pytest.raises(KvUnavailable):
            a.request_address(subnet)
        with pytest.raises(KvUnavailable):
            a.collect({})
