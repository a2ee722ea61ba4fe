"""Who has which name, and who may ask."""

from __future__ import annotations

import ipaddress
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from machinectl_agent.network.dns.reverse import Subnets, parse_reverse
from machinectl_agent.network.dns.verdict import Answer, Verdict
from machinectl_agent.network.dns.zone import MOST, Zone
from machinectl_agent.network.records import EndpointRecord, NetworkRecord, Pool

FRONT = NetworkRecord("f" * 64, "front", 1, (Pool("10.77.1.0/24"), Pool("fd77:1::/64")))
BACK = NetworkRecord("b" * 64, "Back.end", 2, (Pool("10.77.2.0/24"),), internal=True)
OTHER = NetworkRecord("o" * 64, "other", 3, (Pool("10.77.3.0/24"),))


def endpoint(id, network, ip, name="", ip6="", aliases=(), machine="m1", container=""):
    return EndpointRecord(id, network.id, machine, ip, ip6, "", name, tuple(aliases), container)


WEB = endpoint("e1", FRONT, "10.77.1.2", "Web", "fd77:1::2", ("www",), container="0123456789abcdef" * 4)
APP = endpoint("e2", FRONT, "10.77.1.3", "app", aliases=("www",), machine="m2")
DB = endpoint("e3", BACK, "10.77.2.2", "db")
APP_BACK = endpoint("e4", BACK, "10.77.2.3", "app", machine="m2")
ALIEN = endpoint("e5", OTHER, "10.77.3.2", "alien")


@pytest.fixture
def zone():
    found = Zone()
    found.set_networks([FRONT, BACK, OTHER])
    found.set_endpoints(FRONT.id, [WEB, APP])
    found.set_endpoints(BACK.id, [DB, APP_BACK])
    found.set_endpoints(OTHER.id, [ALIEN])
    found.set_sandboxes({"e2": [FRONT.id, BACK.id], "e4": [FRONT.id, BACK.id]})
    return found


def ask(zone, client, name, kind="A"):
    return zone.answer(client.network, client.ip, name, kind)


def values(answer):
    assert answer.verdict is Verdict.FOUND
    return {value for _, value in answer.values}


@pytest.mark.parametrize(
    "name", ["web", "WEB", "web.front", "Web.FRONT", "0123456789ab", "0123456789ab.front"]
)
def test_each_of_a_containers_names(zone, name):
    assert ask(zone, WEB, name) == Answer(Verdict.FOUND, (("A", "10.77.1.2"),))
    assert ask(zone, WEB, name, "AAAA") == Answer(Verdict.FOUND, (("AAAA", "fd77:1::2"),))
    assert values(ask(zone, WEB, name, "ANY")) == {"10.77.1.2", "fd77:1::2"}
    assert ask(zone, WEB, name, "MX") == Answer(Verdict.NO_DATA)


def test_a_name_with_another_family_only_has_no_data(zone):
    assert ask(zone, WEB, "app", "AAAA") == Answer(Verdict.NO_DATA)
    zone.put_endpoint(endpoint("e6", FRONT, "", "six", "fd77:1::6"))
    assert ask(zone, WEB, "six") == Answer(Verdict.NO_DATA)


def test_networks_and_containers_may_have_dots_in_their_names(zone):
    assert values(ask(zone, DB, "db.back.end")) == {"10.77.2.2"}
    zone.put_endpoint(endpoint("e6", BACK, "10.77.2.6", "db.back"))
    assert values(ask(zone, DB, "db.back")) == {"10.77.2.6"}
    zone.put_endpoint(endpoint("e7", BACK, "10.77.2.7", "db.back.end"))
    assert values(ask(zone, DB, "db.back.end")) == {"10.77.2.2", "10.77.2.7"}


class TestIsolation:
    def test_a_container_sees_the_networks_it_is_in(self, zone):
        for client in (APP, APP_BACK):  # whichever of its interfaces it asks through
            assert values(ask(zone, client, "web")) == {"10.77.1.2"}
            assert values(ask(zone, client, "db")) == {"10.77.2.2"}
            assert values(ask(zone, client, "app")) == {"10.77.1.3", "10.77.2.3"}
            assert values(ask(zone, client, "app.back.end")) == {"10.77.2.3"}

    def test_and_no_other(self, zone):
        assert ask(zone, WEB, "db").verdict is Verdict.FORWARD
        assert ask(zone, WEB, "db.back.end").verdict is Verdict.FORWARD
        assert ask(zone, APP, "alien.other").verdict is Verdict.FORWARD
        assert ask(zone, DB, "web").verdict is Verdict.REFUSED

    def test_a_source_that_nobody_knows_is_in_that_network_alone(self, zone):
        assert values(zone.answer(FRONT.id, "10.77.1.99", "web", "A")) == {"10.77.1.2"}
        assert zone.answer(FRONT.id, "10.77.1.99", "db", "A").verdict is Verdict.FORWARD
        assert zone.answer(BACK.id, "10.77.1.3", "web", "A").verdict is Verdict.REFUSED

    def test_an_address_of_one_network_means_nothing_in_another(self, zone):
        assert zone.answer(OTHER.id, APP.ip, "db", "A").verdict is Verdict.FORWARD

    def test_nothing_leaves_from_internal_networks_only(self, zone):
        assert ask(zone, DB, "example.com").verdict is Verdict.REFUSED
        assert ask(zone, DB, "1.1.1.1.in-addr.arpa", "PTR").verdict is Verdict.REFUSED
        assert ask(zone, APP_BACK, "example.com").verdict is Verdict.FORWARD
        zone.set_networks([FRONT])  # etcd has not told yet what the other is
        assert ask(zone, DB, "example.com").verdict is Verdict.REFUSED

    def test_the_hosts_own_namespace_has_no_names(self, zone):
        assert zone.answer(None, "10.77.1.2", "web", "A").verdict is Verdict.FORWARD
        assert zone.answer(None, "10.77.1.2", "web.front", "A").verdict is Verdict.FORWARD
        assert zone.answer(None, "127.0.0.1", "2.1.77.10.in-addr.arpa", "PTR").verdict is Verdict.NO_NAME


class TestReverse:
    def test_name_and_network(self, zone):
        assert values(ask(zone, APP, "2.1.77.10.in-addr.arpa", "PTR")) == {"Web.front"}
        assert values(ask(zone, APP, "2.2.77.10.in-addr.arpa", "PTR")) == {"db.Back.end"}
        long = ipaddress.ip_address("fd77:1::2").reverse_pointer
        assert values(ask(zone, APP, long, "PTR")) == {"Web.front"}
        assert ask(zone, APP, long, "TXT") == Answer(Verdict.NO_DATA)

    def test_addresses_of_overlays_are_asked_nowhere_else(self, zone):
        assert ask(zone, APP, "99.1.77.10.in-addr.arpa", "PTR").verdict is Verdict.NO_NAME
        assert ask(zone, APP, "2.3.77.10.in-addr.arpa", "PTR").verdict is Verdict.NO_NAME  # not its network
        assert ask(zone, APP, "8.8.8.8.in-addr.arpa", "PTR").verdict is Verdict.FORWARD

    def test_a_name_that_dns_cannot_carry(self, zone):
        zone.put_endpoint(endpoint("e6", FRONT, "10.77.1.6", "x" * 64))
        assert ask(zone, WEB, "6.1.77.10.in-addr.arpa", "PTR").verdict is Verdict.NO_NAME

    @given(st.ip_addresses())
    def test_every_address(self, address):
        assert parse_reverse(address.reverse_pointer) == str(address)

    @given(
        st.text(alphabet="0123456789abcdef.-x", max_size=80),
        st.sampled_from([".in-addr.arpa", ".ip6.arpa", ""]),
    )
    def test_whatever_is_asked(self, text, suffix):
        found = parse_reverse(text + suffix)
        assert not found or ipaddress.ip_address(found).reverse_pointer == text + suffix

    @given(st.lists(st.ip_addresses(), max_size=5), st.ip_addresses(), st.integers(0, 32))
    def test_subnets(self, addresses, asked, length):
        networks = [ipaddress.ip_network(f"{one}/{length}", strict=False) for one in addresses]
        assert (str(asked) in Subnets(map(str, networks))) == any(asked in one for one in networks)


class TestRoundRobin:
    def test_everybody_is_first_as_often(self, zone):
        replicas = [
            endpoint(f"r{n}", FRONT, f"10.77.1.{n}", f"r{n}", aliases=["pool"]) for n in range(10, 15)
        ]
        zone.set_endpoints(FRONT.id, [WEB, *replicas])
        first: Counter[str] = Counter()
        for _ in range(100):
            answer = ask(zone, WEB, "pool")
            assert values(answer) == {one.ip for one in replicas}
            first[answer.values[0][1]] += 1
            ask(zone, WEB, "pool", "AAAA")  # as every client does
        assert set(first.values()) == {20}

    def test_more_replicas_than_an_answer_takes(self, zone):
        many = [
            endpoint(f"r{n}", OTHER, str(ipaddress.ip_address("10.80.0.0") + n), aliases=["pool"])
            for n in range(1500)
        ]
        zone.set_endpoints(OTHER.id, many)
        seen = set()
        for _ in range(501):
            found = zone.answer(OTHER.id, "", "pool", "A").values
            assert len(found) == len(set(found)) == MOST
            seen.update(found)
        assert len(seen) == 1500


class TestChanges:
    def test_rename(self, zone):
        zone.put_endpoint(endpoint("e1", FRONT, "10.77.1.2", "new"))
        assert ask(zone, WEB, "web").verdict is Verdict.FORWARD
        assert values(ask(zone, WEB, "new")) == {"10.77.1.2"}
        assert values(ask(zone, WEB, "www")) == {"10.77.1.3"}

    def test_rename_of_a_network(self, zone):
        zone.set_networks([NetworkRecord(FRONT.id, "shop", 1, FRONT.pools)])
        assert values(ask(zone, WEB, "web.shop")) == {"10.77.1.2"}
        assert ask(zone, WEB, "web.front").verdict is Verdict.FORWARD

    def test_an_address_goes_to_another_before_its_old_owner_is_dropped(self, zone):
        zone.put_endpoint(endpoint("e9", FRONT, WEB.ip, "heir"))
        zone.drop_endpoint(FRONT.id, "e1")
        assert values(ask(zone, APP, "2.1.77.10.in-addr.arpa", "PTR")) == {"heir.front"}

    def test_what_is_dropped_is_gone(self, zone):
        zone.drop_endpoint(FRONT.id, "e1")
        zone.drop_endpoint(FRONT.id, "e1")
        zone.drop_endpoint("nowhere", "e1")
        assert ask(zone, APP, "web").verdict is Verdict.FORWARD
        zone.drop_network(FRONT.id)
        zone.drop_network(FRONT.id)
        assert ask(zone, APP, "app").verdict is Verdict.FORWARD

    def test_a_bad_record_spoils_nothing(self, zone):
        zone.put_endpoint(endpoint("e8", FRONT, "no address", "www", "10.1.1.1"))
        assert values(ask(zone, WEB, "www")) == {"10.77.1.2", "10.77.1.3"}
        zone.set_networks([NetworkRecord("x", "x", 9, (Pool("none"),))])
        assert ask(zone, WEB, "www").verdict is Verdict.FOUND

    @given(
        st.lists(
            st.tuples(
                st.sampled_from("abcdef"),
                st.one_of(
                    st.none(), st.tuples(st.integers(1, 5), st.sets(st.sampled_from(["x", "Y", "z.q"])))
                ),
            )
        ),
        st.sets(st.sampled_from(["m1", "m2"])),
    )
    def test_step_by_step_is_as_all_at_once(self, steps, dead):
        zone = Zone()
        truth: dict[str, EndpointRecord] = {}
        zone.set_networks([FRONT])
        zone.set_dead(dead)
        for id, what in steps:
            if what is None:
                truth.pop(id, None)
                zone.drop_endpoint(FRONT.id, id)
            else:
                number, aliases = what
                machine = f"m{number % 3}"
                truth[id] = endpoint(id, FRONT, f"10.77.1.{number}", aliases=sorted(aliases), machine=machine)
                zone.put_endpoint(truth[id])
        whole = Zone()
        whole.set_networks([FRONT])
        whole.set_dead(dead)
        whole.set_endpoints(FRONT.id, truth.values())
        for name in ("x", "y", "z.q", "q", "y.front"):
            bare = name.replace(".front", "")
            known = [one for one in truth.values() if bare in {alias.lower() for alias in one.aliases}]
            alive = {one.ip for one in known if one.machine not in dead}
            for one in (zone, whole):
                answer = one.answer(FRONT.id, "", name, "A")
                assert {value for _, value in answer.values} == alive
                expected = Verdict.FOUND if alive else Verdict.NO_NAME if known else Verdict.FORWARD
                assert answer.verdict is expected


class TestDead:
    def test_their_names_are_withheld_and_asked_nowhere_else(self, zone):
        zone.set_sandboxes({})
        zone.set_dead(["m2"])
        assert values(ask(zone, WEB, "www")) == {"10.77.1.2"}
        assert ask(zone, WEB, "app") == Answer(Verdict.NO_NAME)
        assert ask(zone, WEB, "app", "AAAA") == Answer(Verdict.NO_NAME)
        assert ask(zone, WEB, "3.1.77.10.in-addr.arpa", "PTR").verdict is Verdict.NO_NAME
        zone.set_dead([])
        assert values(ask(zone, WEB, "app")) == {"10.77.1.3"}

    def test_never_those_of_our_own_containers(self, zone):
        zone.set_dead(["m2"])  # it is us: our lease has run out
        assert values(ask(zone, WEB, "app")) == {"10.77.1.3"}


class TestLookup:
    def test_who_has_it_and_where(self, zone):
        found = zone.lookup("app.")
        assert {(one.endpoint, one.machine, one.network_name, one.ip) for one in found.found} == {
            ("e2", "m2", "front", "10.77.1.3"),
            ("e4", "m2", "Back.end", "10.77.2.3"),
        }
        assert not found.why
        assert [one.endpoint for one in zone.lookup("APP", "front").found] == ["e2"]
        assert [one.endpoint for one in zone.lookup("app", BACK.id).found] == ["e4"]
        assert [one.endpoint for one in zone.lookup("fd77:1::2").found] == ["e1"]

    def test_why_not(self, zone):
        assert "no endpoint in front" in zone.lookup("nobody", "front").why
        assert "no container in a network nowhere" in zone.lookup("app", "nowhere").why
        zone.set_sandboxes({})
        zone.set_dead(["m2"])
        withheld = zone.lookup("app")
        assert "dead" in withheld.why
        assert all(one.withheld for one in withheld.found)
        assert not zone.lookup("www").why
