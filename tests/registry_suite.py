"""What the registry must do over any Kv, with nothing wrong: run over memory and over a real etcd.

A module that runs it has a fixture `machine(name, **options)` that gives a Registry; all share one store.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from machinectl_agent.network.records import EndpointRecord, MachineRecord, NetworkRecord, Pool
from machinectl_agent.network.registry.errors import (
    AddressTaken,
    BadSubnet,
    EndpointGone,
    MachineAlive,
    NameTaken,
    NetworkGone,
    NetworkInUse,
    PoolFull,
    PoolGone,
    PoolTaken,
    RegistryError,
    VniTaken,
)
from machinectl_agent.network.registry.registry import Registry

Join = Callable[..., Registry]
NETWORK = "a1" * 32
OTHER = "b2" * 32


def make(
    registry: Registry, network: str = NETWORK, name: str = "demo", subnet: str = "", **options
) -> NetworkRecord:
    """As dockerd and the events do: pool, gateway, network, name."""
    pool = registry.request_pool(subnet, options.pop("range", ""))
    gateway = registry.request_address(pool.subnet, kind="gateway").partition("/")[0]
    record = registry.create_network(
        network=network, name="", pools=[Pool(pool.subnet, gateway=gateway)], **options
    )
    registry.name_network(network, name)
    return record


def endpoint(address: str, machine: str, network: str = NETWORK, name: str = "") -> EndpointRecord:
    ip = address.partition("/")[0]
    return EndpointRecord(
        f"{machine}-{ip}", network, machine, "" if ":" in ip else ip, ip if ":" in ip else "", "02:42", name
    )


def attach(
    registry: Registry, machine: str, record: NetworkRecord, address: str = "", name: str = ""
) -> EndpointRecord:
    found = registry.request_address(record.pools[0].subnet, address)
    made = endpoint(found, machine, record.id, name)
    registry.put_endpoint(made)
    return made


class RegistrySuite:
    def test_subnets_are_chosen_one_after_the_other(self, machine: Join):
        a, b = machine("a"), machine("b", pools=["10.9.0.0/23"])
        assert [one.request_pool().subnet for one in (a, a, b, b)] == [
            "10.77.0.0/24", "10.77.1.0/24", "10.9.0.0/24", "10.9.1.0/24",
        ]  # fmt: skip
        with pytest.raises(PoolFull):
            b.request_pool()
        assert a.request_pool(v6=True).subnet == "fd77:6d63:746c::/64"
        assert b.request_pool(v6=True).subnet == "fd77:6d63:746c:1::/64"

    def test_subnets_of_this_host_are_avoided(self, machine: Join):
        a = machine("a")
        assert (
            a.request_pool(avoid=["default", "0.0.0.0/0", "10.77.0.0/22", "fe80::/64"]).subnet
            == "10.77.4.0/24"
        )
        with pytest.raises(PoolTaken, match=r"10\.77\.2\.0/24 overlaps 10\.77\.0\.0/22") as told:
            a.request_pool("10.77.2.0/24", avoid=["10.77.0.0/22"])
        assert "this host" in told.value.why

    def test_an_overlapping_subnet_is_refused_with_the_others_name(self, machine: Join):
        make(machine("a"), subnet="10.5.1.0/24")
        for subnet in ("10.5.0.0/16", "10.5.1.128/25", "10.5.1.0/24"):
            with pytest.raises(PoolTaken) as told:
                machine("b").request_pool(subnet)
            assert "network demo has it" in told.value.why

    def test_dockerd_replays_its_pools(self, machine: Join):
        a, b = machine("a"), machine("b")
        first = a.request_pool("10.5.0.0/16", "10.5.1.0/24")
        assert a.request_pool("10.5.0.0/16", "10.5.1.0/24") == first
        record = make(a, subnet="10.5.0.0/16", range="10.5.1.0/24")
        assert record.pools == (Pool("10.5.0.0/16", "10.5.1.0/24", "10.5.1.0"),)
        assert a.request_pool("10.5.0.0/16").network == NETWORK
        assert b.request_pool("10.5.0.0/16", network=NETWORK).range == "10.5.1.0/24"
        with pytest.raises(PoolGone):
            b.request_pool("10.5.0.0/16", network=OTHER)
        with pytest.raises(PoolGone):
            b.request_pool("10.6.0.0/16", network=NETWORK)
        # a replica that goes takes nothing along
        b.release_pool("10.5.0.0/16")
        a.release_pool("10.5.0.0/16")
        assert b.request_pool("10.5.0.0/16", network=NETWORK).network == NETWORK

    def test_a_second_try_may_have_another_range(self, machine: Join):
        a = machine("a")
        a.request_pool("10.5.0.0/16", "10.5.1.0/24")
        assert a.request_pool("10.5.0.0/16", "10.5.2.0/24").range == "10.5.2.0/24"
        assert a.request_address("10.5.0.0/16") == "10.5.2.0/16"
        assert make(a, subnet="10.5.0.0/16").pools[0].range == ""

    @pytest.mark.parametrize(
        ("subnet", "inner"),
        [
            ("x", ""),
            ("10.0.0.0/31", ""),
            ("127.0.0.0/8", ""),
            ("10.1.0.0/24", "10.2.0.0/25"),
            ("", "10.1.0.0/25"),
        ],
    )
    def test_a_bad_subnet_is_refused(self, machine: Join, subnet: str, inner: str):
        with pytest.raises(BadSubnet):
            machine("a").request_pool(subnet, inner)

    def test_machines_that_choose_at_the_same_time_never_overlap(self, machine: Join):
        registries = [machine(f"m{one}") for one in range(8)]
        wanted = ["", "10.77.0.0/22", "10.77.0.0/23", "", "10.77.1.0/24", "", "10.77.0.0/20", ""]

        def ask(number: int) -> str:
            try:
                return registries[number].request_pool(wanted[number]).subnet
            except PoolTaken:
                return ""

        with ThreadPoolExecutor(8) as pool:
            found = [ipaddress.ip_network(one) for one in pool.map(ask, range(8)) if one]
        assert len(found) >= 4
        assert not [(x, y) for x in found for y in found if x is not y and x.overlaps(y)]

    def test_addresses_go_upwards_and_around(self, machine: Join):
        a = machine("a")
        subnet = make(a, subnet="10.5.1.0/29").pools[0].subnet
        given = [a.request_address(subnet) for _ in range(3)]
        assert given == ["10.5.1.2/29", "10.5.1.3/29", "10.5.1.4/29"]
        a.release_address(subnet, "10.5.1.3")
        assert [a.request_address(subnet) for _ in range(3)] == ["10.5.1.5/29", "10.5.1.6/29", "10.5.1.3/29"]
        with pytest.raises(PoolFull):
            a.request_address(subnet)

    def test_a_machine_that_knows_little_finds_the_last_address(self, machine: Join):
        a, b = machine("a"), machine("b")
        subnet = make(a, subnet="10.5.1.0/29").pools[0].subnet
        taken = [a.request_address(subnet).partition("/")[0] for _ in range(5)]
        with pytest.raises(PoolFull):
            b.request_address(subnet)
        a.release_address(subnet, taken[2])
        assert b.request_address(subnet) == f"{taken[2]}/29"

    def test_the_range_is_kept_and_an_explicit_address_may_leave_it(self, machine: Join):
        a, b = machine("a"), machine("b")
        record = make(a, subnet="10.5.1.0/24", range="10.5.1.64/30")
        subnet = record.pools[0].subnet
        assert record.pools[0].gateway == "10.5.1.64"
        assert b.request_address(subnet, "10.5.1.9") == "10.5.1.9/24"
        assert sorted(one.request_address(subnet) for one in (a, b, a)) == [
            f"10.5.1.{n}/24" for n in (65, 66, 67)
        ]
        with pytest.raises(PoolFull, match="no free address"):
            b.request_address(subnet)

    @pytest.mark.parametrize("address", ["10.5.1.0", "10.5.1.255", "10.5.2.1", "fd00::1", "x"])
    def test_an_address_that_no_host_can_have_is_refused(self, machine: Join, address: str):
        subnet = make(machine("a"), subnet="10.5.1.0/24").pools[0].subnet
        with pytest.raises(BadSubnet):
            machine("a").request_address(subnet, address)

    def test_a_taken_address_names_its_owner(self, machine: Join):
        a, b = machine("a"), machine("b")
        a.register(MachineRecord("a", "node1", "10.0.0.1"))
        record = make(a)
        made = attach(a, "a", record)
        with pytest.raises(AddressTaken) as told:
            b.request_address(record.pools[0].subnet, made.ip)
        assert "node1" in told.value.why
        with pytest.raises(AddressTaken) as told:
            b.request_address(record.pools[0].subnet, record.pools[0].gateway)
        assert "gateway" in told.value.why

    def test_gateway_and_auxiliary_addresses_are_shared_and_never_given_out(self, machine: Join):
        a, b = machine("a"), machine("b")
        pool = a.request_pool("10.5.1.0/29")
        assert a.request_address(pool.subnet, "10.5.1.6", kind="gateway") == "10.5.1.6/29"
        assert a.request_address(pool.subnet, "10.5.1.2", kind="auxiliary") == "10.5.1.2/29"
        a.create_network(network=NETWORK, name="demo", pools=[Pool(pool.subnet, gateway="10.5.1.6")])
        assert b.request_address(pool.subnet, "10.5.1.6", kind="gateway") == "10.5.1.6/29"
        assert b.request_address(pool.subnet, kind="gateway") == "10.5.1.6/29"
        b.release_address(pool.subnet, "10.5.1.6")
        a.release_address(pool.subnet, "10.5.1.6")
        assert sorted(b.request_address(pool.subnet) for _ in range(4)) == [
            f"10.5.1.{n}/29" for n in (1, 3, 4, 5)
        ]

    def test_ipv6(self, machine: Join):
        a = machine("a")
        pool = a.request_pool("fd00:1::/48", v6=True)
        assert a.request_address(pool.subnet, kind="gateway") == "fd00:1::1/48"
        record = a.create_network(
            network=NETWORK, name="demo", pools=[Pool(pool.subnet, gateway="fd00:1::1")]
        )
        assert attach(a, "a", record).ip6 == "fd00:1::2"
        assert a.request_address(pool.subnet, "fd00:1:0::FFFF") == "fd00:1::ffff/48"
        assert machine("b").request_address(pool.subnet) == "fd00:1::3/48"

    def test_eight_machines_allocate_at_once(self, machine: Join):
        registries = [machine(f"m{one}") for one in range(8)]
        subnet = make(registries[0], subnet="10.5.0.0/16").pools[0].subnet

        def ask(registry: Registry) -> list[str]:
            return [registry.request_address(subnet) for _ in range(25)]

        with ThreadPoolExecutor(8) as pool:
            found = [one for some in pool.map(ask, registries) for one in some]
        assert len(set(found)) == 200

    def test_one_machines_threads_don_t_disturb_each_other(self, machine: Join):
        a = machine("a")
        subnet = make(a, subnet="10.5.0.0/24").pools[0].subnet
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: a.request_address(subnet), range(100)))
        assert len(set(found)) == 100

    def test_no_subnet_no_address(self, machine: Join):
        with pytest.raises(PoolGone):
            machine("a").request_address("10.5.1.0/24")
        with pytest.raises(PoolGone):
            machine("a").request_address("10.5.1.0/24", "10.5.1.2")

    def test_a_network_comes_once(self, machine: Join):
        a, b = machine("a"), machine("b")
        record = make(a, mtu=1400, internal=True, labels={"x": "y"}, on=["node1"])
        assert record.vni >= 4097
        again = a.create_network(network=NETWORK, name="", pools=record.pools)
        assert (again.vni, again.name, again.mtu) == (record.vni, "demo", 1400)
        assert b.network(NETWORK) == b.find_network("demo") == b.find_network(NETWORK[:12]) == again
        assert b.networks() == [again]
        assert b.find_network("nosuch") is None

    def test_the_subnet_of_a_network_is_no_others(self, machine: Join):
        a = machine("a")
        record = make(a)
        with pytest.raises(PoolTaken) as told:
            a.create_network(network=OTHER, name="", pools=record.pools)
        assert "demo" in told.value.why
        assert a.networks()[0].id == NETWORK

    def test_a_vni_is_honoured_once(self, machine: Join):
        a, b = machine("a"), machine("b")
        assert make(a, vni=5000).vni == 5000
        pool = b.request_pool()
        with pytest.raises(VniTaken) as told:
            b.create_network(network=OTHER, name="", pools=[Pool(pool.subnet)], vni=5000)
        assert "demo" in told.value.why

    def test_names_are_unique_and_change(self, machine: Join):
        a, b = machine("a"), machine("b")
        make(a)
        with pytest.raises(NameTaken) as told:
            make(b, OTHER, "demo")
        assert told.value.owner == NETWORK
        b.name_network(OTHER, "other")
        a.name_network(NETWORK, "renamed")
        a.name_network(NETWORK, "renamed")
        b.name_network(OTHER, "demo")
        assert {one.name: one.id for one in a.networks()} == {"renamed": NETWORK, "demo": OTHER}
        with pytest.raises(NetworkGone):
            a.name_network("c3" * 32, "x")

    def test_a_network_goes_with_all_that_it_had(self, machine: Join, leftovers):
        a, b = machine("a"), machine("b")
        record = make(a)
        made = attach(b, "b", record, name="web")
        with pytest.raises(NetworkInUse) as told:
            a.delete_network(NETWORK)
        assert told.value.endpoints == (made,)
        assert "web on b" in told.value.why
        b.delete_endpoint(NETWORK, made.id)
        b.release_address(record.pools[0].subnet, made.ip)
        a.delete_network(NETWORK)
        a.delete_network(NETWORK)
        assert leftovers() == []
        with pytest.raises(NetworkGone):
            b.put_endpoint(made)
        assert make(b, OTHER).pools[0].subnet == record.pools[0].subnet

    def test_a_network_goes_or_has_endpoints_never_both(self, machine: Join):
        a, others = machine("a"), [machine(f"m{one}") for one in range(4)]
        for number in range(10):
            network = f"{number:064x}"
            record = make(a, network, f"n{number}")
            given = [one.request_address(record.pools[0].subnet) for one in others]

            def put(one: int, network: str = network, given: list[str] = given) -> bool:
                try:
                    others[one].put_endpoint(endpoint(given[one], f"m{one}", network))
                    return True
                except NetworkGone:
                    return False

            def delete(network: str = network) -> bool:
                try:
                    a.delete_network(network)
                    return True
                except NetworkInUse:
                    return False

            with ThreadPoolExecutor(5) as pool:
                puts = [pool.submit(put, one) for one in range(2)]
                deleted = pool.submit(delete)
                puts += [pool.submit(put, one) for one in range(2, 4)]
            count = sum(one.result() for one in puts)
            assert deleted.result() == (count == 0)
            assert len(a.endpoints(network)) == count
            assert (a.network(network) is None) == deleted.result()

    def test_an_endpoint_has_its_addresses_alone(self, machine: Join):
        a, b = machine("a"), machine("b")
        record = make(a)
        made = attach(a, "a", record)
        for rival in (a, b):
            name = "a" if rival is a else "b"
            with pytest.raises(AddressTaken):
                rival.put_endpoint(EndpointRecord("rival", NETWORK, name, made.ip, "", "02:42"))
        with pytest.raises(AddressTaken):
            b.put_endpoint(EndpointRecord("rival", NETWORK, "b", record.pools[0].gateway, "", "02:42"))
        a.put_endpoint(made)
        a.release_address(record.pools[0].subnet, made.ip)
        b.release_address(record.pools[0].subnet, made.ip)
        b.delete_endpoint(NETWORK, made.id)
        assert b.endpoints(NETWORK) == [made]
        with pytest.raises(BadSubnet):
            a.put_endpoint(EndpointRecord("stray", NETWORK, "a", "192.0.2.1", "", "02:42"))

    def test_an_address_that_was_freed_by_others_can_be_bound_again(self, machine: Join):
        a, b = machine("a"), machine("b")
        made = attach(a, "a", make(a))
        b.forget("a", force=True)
        again = EndpointRecord("again", NETWORK, "a", made.ip, "", "02:42")
        a.put_endpoint(again)
        assert b.endpoints(NETWORK) == [again]
        a.delete_endpoint(NETWORK, made.id)
        a.delete_endpoint(NETWORK, again.id)
        assert b.request_address("10.77.0.0/24", made.ip) == f"{made.ip}/24"

    def test_an_endpoint_gets_its_names(self, machine: Join):
        a, b = machine("a"), machine("b")
        made = attach(a, "a", make(a))
        a.update_endpoint(NETWORK, made.id, name="web", aliases=("w", "x"), container="c1")
        (found,) = b.endpoints(NETWORK)
        assert (found.name, found.aliases, found.container, found.ip) == ("web", ("w", "x"), "c1", made.ip)
        with pytest.raises(EndpointGone):
            b.update_endpoint(NETWORK, made.id, name="bad", aliases=(), container="")

    def test_a_restarted_agent_goes_on(self, machine: Join):
        record = make(machine("a"))
        subnet = record.pools[0].subnet
        first = machine("a").request_address(subnet)
        made = endpoint(first, "a")
        machine("a").put_endpoint(made)
        machine("a").update_endpoint(NETWORK, made.id, name="web", aliases=(), container="")
        machine("a").delete_endpoint(NETWORK, made.id)
        machine("a").release_address(subnet, made.ip)
        again = machine("a").request_address(subnet)
        machine("a").release_address(subnet, again.partition("/")[0])
        assert machine("b").request_address(subnet) == again == first

    def test_dockerd_s_late_release_does_not_hit_the_next_container(self, machine: Join):
        a = machine("a")
        record = make(a)
        subnet = record.pools[0].subnet
        made = attach(a, "a", record, "10.77.0.9")
        a.delete_endpoint(NETWORK, made.id)
        a.request_address(subnet, "10.77.0.9")
        a.release_address(subnet, "10.77.0.9")
        with pytest.raises(AddressTaken):
            machine("b").request_address(subnet, "10.77.0.9")

    def test_machines_register_and_rename(self, machine: Join):
        a, b = machine("a"), machine("b")
        a.register(MachineRecord("a", "node1", "10.0.0.1"))
        a.register(MachineRecord("a", "node1", "10.0.0.9"))
        with pytest.raises(NameTaken) as told:
            b.register(MachineRecord("b", "node1", "10.0.0.2"))
        assert told.value.owner == "a"
        a.register(MachineRecord("a", "node9", "10.0.0.9"))
        b.register(MachineRecord("b", "node1", "10.0.0.2"))
        assert {one.id: (one.name, one.vtep) for one in b.machines()} == {
            "a": ("node9", "10.0.0.9"),
            "b": ("node1", "10.0.0.2"),
        }

    def test_a_dead_machine_is_forgotten_whole(self, machine: Join, kv, layout, leftovers):
        a, b = machine("a"), machine("b")
        a.register(MachineRecord("a", "node1", "10.0.0.1"))
        b.register(MachineRecord("b", "node2", "10.0.0.2"))
        record = make(a, subnet="10.5.0.0/16")
        stays = attach(a, "a", record)
        gone = [attach(b, "b", record) for _ in range(40)]
        b.request_address(record.pools[0].subnet)
        b.request_pool()
        pool = b.request_pool()
        b.create_network(network=OTHER, name="", pools=[Pool(pool.subnet)])
        kv.put(layout.alive("b"), b"")
        with pytest.raises(MachineAlive):
            a.forget("b")
        kv.delete(layout.alive("b"))
        found = a.forget("b")
        assert (found.name, found.endpoints, found.addresses, found.pools) == ("node2", 40, 41, 1)
        assert a.endpoints(NETWORK) == [stays]
        assert [one.name for one in a.machines()] == ["node1"]
        assert not [key for key in leftovers() if "owned/b/" in key or OTHER in key]
        # it was not dead: it comes back, and what nobody took meanwhile is its own again
        taken = attach(a, "a", record, gone[3].ip)
        b.register(MachineRecord("b", "node2", "10.0.0.2"))
        done = b.collect({one.id: one for one in gone}, networks={NETWORK: record})
        assert done.restored_endpoints == 39
        assert len(done.conflicts) == 1
        assert gone[3].ip in done.conflicts[0]
        assert "node1" in done.conflicts[0]
        assert {one.machine for one in a.endpoints(NETWORK) if one.ip == taken.ip} == {"a"}
        assert a.forget("b", force=True).endpoints == 39

    def test_what_nobody_knows_is_collected_after_the_grace(self, machine: Join, clock, leftovers):
        a = machine("a")
        record = make(a)
        subnet = record.pools[0].subnet
        kept = attach(a, "a", record)
        local = {kept.id: kept}
        known = leftovers()
        attach(a, "a", record)
        a.request_address(subnet)
        pool = a.request_pool()
        a.request_address(pool.subnet, kind="gateway")
        pool = a.request_pool()
        a.create_network(network=OTHER, name="", pools=[Pool(pool.subnet)])
        assert str(a.collect(local, networks={NETWORK: record})) == ""
        clock.now += 59
        assert str(a.collect(local, networks={NETWORK: record})) == ""
        clock.now += 1
        done = a.collect(local, networks={NETWORK: record})
        assert (done.freed_endpoints, done.freed_addresses, done.freed_pools, done.freed_networks) == (
            1,
            2,
            1,
            1,
        )
        assert leftovers() == known
        assert not done.conflicts

    def test_the_grace_begins_anew_for_an_address_that_was_given_out_again(self, machine: Join, clock):
        a = machine("a")
        subnet = make(a).pools[0].subnet
        a.request_address(subnet, "10.77.0.9")
        a.collect({})
        clock.now += 50
        a.release_address(subnet, "10.77.0.9")
        a.request_address(subnet, "10.77.0.9")
        clock.now += 50
        assert a.collect({}).freed_addresses == 0

    def test_an_endpoint_of_another_machine_is_never_collected(self, machine: Join, clock):
        a, b = machine("a"), machine("b")
        made = attach(b, "b", make(a))
        a.collect({})
        clock.now += 1000
        assert str(a.collect({})) == ""
        assert a.endpoints(NETWORK) == [made]

    def test_a_lost_name_is_put_right(self, machine: Join, clock):
        a = machine("a")
        made = attach(a, "a", make(a))
        here = endpoint(made.ip, "a", name="web")
        for _ in range(2):
            a.collect({here.id: here})
            clock.now += 60
        assert a.endpoints(NETWORK) == [here]

    def test_a_restored_backup_gets_back_what_is_here(self, machine: Join, save, restore, leftovers):
        a, b = machine("a"), machine("b")
        backup = save()
        record = make(a)
        mine, others = attach(a, "a", record), attach(b, "b", record)
        record = a.networks()[0]
        whole = leftovers()
        restore(backup)
        assert a.networks() == []
        assert b.collect({others.id: others}, networks={NETWORK: record}).restored_endpoints == 1
        done = a.collect({mine.id: mine}, networks={NETWORK: record})
        assert (done.restored_endpoints, done.restored_networks, done.conflicts) == (1, 0, [])
        assert a.networks() == [record]
        assert leftovers() == whole
        assert a.request_address(record.pools[0].subnet) not in (f"{mine.ip}/24", f"{others.ip}/24")

    def test_a_restored_backup_whose_addresses_are_others_by_now(self, machine: Join, save, restore):
        a, b = machine("a"), machine("b")
        record = make(a)
        backup = save()
        mine = attach(a, "a", record)
        restore(backup)
        rival = attach(b, "b", record, mine.ip)
        done = a.collect({mine.id: mine}, networks={NETWORK: record})
        assert len(done.conflicts) == 1
        assert mine.ip in done.conflicts[0]
        assert a.endpoints(NETWORK) == [rival]

    def test_what_was_deleted_is_not_put_back_by_a_collect_that_knew_it(self, machine: Join):
        a = machine("a")
        made = attach(a, "a", make(a))
        a.delete_endpoint(NETWORK, made.id)
        assert str(a.collect({made.id: made})) == ""
        assert a.endpoints(NETWORK) == []

    def test_errors_say_what_why_and_what_to_try(self, machine: Join):
        a, b = machine("a"), machine("b")
        make(a)
        with pytest.raises(RegistryError) as told:
            make(b, OTHER, "demo")
        assert told.value.code == "name-taken"
        assert told.value.what
        assert told.value.why
        assert told.value.hint
