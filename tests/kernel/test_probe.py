"""Probes between two hosts in namespaces: beside a real VXLAN device, through real nft rules and MTUs."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from machinectl_agent.daemon.journal import Journal
from machinectl_agent.kv.gateway import Gateway
from machinectl_agent.kv.interface import Change
from machinectl_agent.network.doctor.echo import answers_echo
from machinectl_agent.network.netlink import namespaces
from machinectl_agent.network.probe.packet import LEAST
from machinectl_agent.network.probe.prober import Reach, probe
from machinectl_agent.network.probe.responder import Responder
from machinectl_agent.network.records import Layout
from tests.dataplane_hosts import Bench, Host, bench, network_id, run
from tests.etcd_cluster import EtcdCluster

pytestmark = pytest.mark.root

LAYOUT = Layout("/probe-test/")
PEER = "peer"


class Relay:
    """Gateway's calls, made in the namespace of the test itself: the hosts have no way to etcd's loopback."""

    def __init__(self, kv: Gateway | None) -> None:
        self._kv = kv

    def __getattr__(self, name):
        return lambda *words, **more: namespaces.inside(
            f"/proc/self/task/{threading.main_thread().native_id}/ns/net",
            lambda: getattr(self._kv, name)(*words, **more),
        )


@pytest.fixture(scope="module")
def kv(tmp_path_factory):
    with EtcdCluster(tmp_path_factory.mktemp("etcd")) as cluster:
        yield Relay(Gateway(cluster.endpoints))


@pytest.fixture
def table(request) -> Iterator[Bench]:
    with bench(request.node.name.partition("[")[0]) as made:
        yield made


def ask(kv, pair: tuple[Host, Host], sizes=(LEAST, 1500), *, lasts=4.0, answered=True) -> Reach:
    """What the first host finds out of the second, whose agent follows etcd."""
    one, two = pair
    responder = Responder(kv, LAYOUT, PEER, 4789, lambda: two.vtep, Journal())

    class Announcing(Relay):
        def put(self, key, value, *, lease=0, deadline=5.0):
            revision = kv.put(key, value, lease=lease, deadline=deadline)
            if answered:
                change = Change(LAYOUT.probes, key, value, revision)
                namespaces.inside(two.path, lambda: responder.asked(change))
            return revision

        def __getattr__(self, name):
            return getattr(kv, name)

    return namespaces.inside(
        one.path,
        lambda: probe(
            Announcing(None), LAYOUT, "asker", 4789, one.vtep, {PEER: two.vtep}, sizes, lasts=lasts
        ),
    )[PEER]


@pytest.mark.parametrize("ipv6", [False, True], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("vxlan", [False, True], ids=["port-unused", "beside-vxlan"])
def test_all_sizes_come_through(kv, table, ipv6, vxlan):
    pair = table.pair(ipv6=ipv6)
    if vxlan:
        for host in pair:
            host.plane.ensure_network(host.wiring(network_id(7), mtu=1400))
    found = ask(kv, pair)
    assert found.listening
    assert found.answered == {LEAST, 1500}
    assert found.clock is not None
    assert abs(found.clock) < 0.5
    assert found.delay is not None
    assert found.delay < 0.5


@pytest.mark.parametrize("hook", ["input", "output"])
def test_a_dropped_port_is_blocked_and_not_down(kv, table, hook):
    """By the peer's own rules, inbound and outbound: what it heard says which."""
    pair = table.pair()
    rules = f"add table inet t; add chain inet t c {{ type filter hook {hook} priority 0; }}; add rule inet t c udp dport 4789 drop"
    run("nft", rules, inside=pair[1].path)
    found = ask(kv, pair)
    assert found.listening
    assert found.answered == set()
    assert bool(found.heard) is (hook == "output")
    assert namespaces.inside(pair[0].path, lambda: answers_echo(pair[1].vtep))


def test_a_host_that_is_down_is_neither(kv, table):
    pair = table.pair()
    run("ip", "link", "set", "u0", "down", inside=pair[1].path)
    found = ask(kv, pair)
    assert not found.answered
    assert not found.heard
    assert not namespaces.inside(pair[0].path, lambda: answers_echo(pair[1].vtep))


def test_what_is_too_large_for_a_link_is_told(kv, table):
    pair = table.pair()
    run("ip", "link", "set", "u0", "mtu", "1400", inside=pair[1].path)
    assert ask(kv, pair, (LEAST, 1400, 1500)).answered == {LEAST, 1400}
    run("ip", "link", "set", "u0", "mtu", "1400", inside=pair[0].path)
    found = ask(kv, pair, (LEAST, 1500))
    assert found.answered == {LEAST}
    assert "too long" in found.refused[1500]


def test_an_agent_that_does_not_follow_says_nothing(kv, table):
    found = ask(kv, table.pair(), answered=False)
    assert found == Reach()


def test_nothing_is_left_in_etcd(kv, table):
    ask(kv, table.pair(), lasts=0.5)
    assert kv.range(LAYOUT.prefix).items == ()
