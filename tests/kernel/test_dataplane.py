"""Packets between containers on two hosts: what they carry, and what happens when things move."""

from __future__ import annotations

import errno
import fcntl
import itertools
import socket
import struct
import time

import pytest

from machinectl_agent.network.drivers.interface import Peer
from machinectl_agent.network.netlink import namespaces
from machinectl_agent.network.paths import RESOLVER
from tests.dataplane_hosts import (
    DEADLINE,
    Bench,
    Container,
    Host,
    add_address,
    at_work,
    bench,
    network_id,
    run,
    tell,
    transfer,
)

pytestmark = pytest.mark.root

NETWORK = network_id(0xDA7A)


@pytest.fixture
def table(request):
    with bench(request.node.name.partition("[")[0]) as made:
        yield made


def pair_of_containers(hosts: tuple[Host, Host], mtu: int = 1450) -> tuple[Container, Container]:
    for host in hosts:
        host.plane.ensure_network(host.wiring(NETWORK, mtu=mtu))
    one = Container(hosts[0], "one", NETWORK, "10.50.0.2", "fd00:50::2")
    two = Container(hosts[1], "two", NETWORK, "10.50.0.3", "fd00:50::3")
    tell(one, two)
    return one, two


@pytest.mark.parametrize("ipv6", [False, True], ids=["ipv4-underlay", "ipv6-underlay"])
def test_containers_on_two_hosts_talk(table: Bench, ipv6):
    one, two = pair_of_containers(table.pair(ipv6=ipv6), mtu=1430 if ipv6 else 1450)
    for sender, receiver in ((one, two), (two, one)):
        assert sender.ping(receiver.ip)
        assert sender.ping(receiver.ip6)
    for to in (two.ip, two.ip6):
        assert transfer(one, two, to, 5_000_000)
    for container in (one, two):
        host = container.host
        others = {two.endpoint: two.peer()} if container is one else {one.endpoint: one.peer()}
        wiring = host.wiring(NETWORK, mtu=1430 if ipv6 else 1450)
        assert host.plane.findings(wiring, others) == []


def test_the_first_packet_is_no_slower_than_the_others(table: Bench):
    """ARP is answered on the same host: nothing is asked over the underlay, and nothing waits for a timer."""
    one, two = pair_of_containers(table.pair())
    at_work(one, two)
    assert (one.ping(two.ip) or 9) < 1
    assert (one.ping(two.ip6) or 9) < 1


def test_two_containers_on_one_host_and_one_on_another(table: Bench):
    first, second = table.pair()
    one, two = pair_of_containers((first, second))
    three = Container(first, "three", NETWORK, "10.50.0.4", "fd00:50::4")
    tell(one, two, three)
    for sender, receiver in itertools.permutations((one, two, three), 2):
        assert sender.ping(receiver.ip), (sender.ip, receiver.ip)
        assert sender.ping(receiver.ip6), (sender.ip6, receiver.ip6)


@pytest.mark.parametrize("group", ["10.50.255.255", "239.1.2.3"], ids=["broadcast", "multicast"])
def test_broadcast_and_multicast_reach_every_host(table: Bench, group):
    one, two = pair_of_containers(table.pair())

    def listen() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(("", 5001))
        if group.startswith("239."):
            request = socket.inet_aton(group) + socket.inet_aton(two.ip)
            made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
        made.settimeout(DEADLINE)
        return made

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(one.ip))
            made.sendto(b"to all", (group, 5001))

    at_work(one, two)
    with two.run(listen) as receiver:
        one.run(send)
        told, (sender, _) = receiver.recvfrom(100)
        assert (told, sender) == (b"to all", one.ip)


def test_a_strict_firewall_of_the_host_does_not_matter(table: Bench):
    """FORWARD DROP with bridge-nf-call-iptables loses all bridged traffic of the host's own namespace."""
    hosts = table.pair()
    for host in hosts:
        run("iptables", "-P", "FORWARD", "DROP", inside=host.path)
        run("ip6tables", "-P", "FORWARD", "DROP", inside=host.path)
        run("sysctl", "-q", "-w", "net.bridge.bridge-nf-call-iptables=1", inside=host.path)
        run("sysctl", "-q", "-w", "net.ipv4.conf.all.rp_filter=1", inside=host.path)
    one, two = pair_of_containers(hosts)
    assert one.ping(two.ip)
    assert two.ping(one.ip6)
    assert transfer(one, two, two.ip, 500_000)


@pytest.mark.parametrize(("ipv6", "mtu"), [(False, 1350), (True, 1330)])
def test_an_underlay_with_a_small_mtu(table: Bench, ipv6, mtu):
    """1400 less VXLAN's headers: the biggest packet passes unfragmented, a bigger one is refused where it is made."""
    one, two = pair_of_containers(table.pair(mtu=1400, ipv6=ipv6), mtu=mtu)
    assert one.ping(two.ip, mtu - 28)
    assert one.ping(two.ip6, mtu - 48)
    with pytest.raises(OSError) as refused:
        one.ping(two.ip, mtu - 26)
    assert refused.value.errno == errno.EMSGSIZE
    assert transfer(one, two, two.ip, 500_000)


def test_a_machine_with_another_underlay_address(table: Bench):
    first, second = table.pair()
    one, two = pair_of_containers((first, second))
    assert one.ping(two.ip)
    second.vtep = "198.51.100.22"
    run("ip", "addr", "del", "198.51.100.2/24", "dev", "u0", inside=second.path)
    add_address(second, second.vtep)
    assert second.plane.ensure_network(second.wiring(NETWORK))
    assert not second.plane.ensure_network(second.wiring(NETWORK))
    first.plane.put_peer(NETWORK, two.endpoint, two.peer())
    assert one.ping(two.ip)
    assert two.ping(one.ip6)
    assert first.plane.findings(first.wiring(NETWORK), {two.endpoint: two.peer()}) == []
    assert second.plane.findings(second.wiring(NETWORK), {one.endpoint: one.peer()}) == []


def test_an_underlay_that_becomes_ipv6(table: Bench):
    """The device is made anew; peers that are still on IPv4 are told as what they are, and no error."""
    first, second = table.pair()
    one, two = pair_of_containers((first, second))
    for number, host in enumerate((first, second), 1):
        host.vtep = f"fd99::{number}"
        add_address(host, host.vtep)
        assert host.plane.ensure_network(host.wiring(NETWORK, mtu=1430))
        assert not host.plane.ensure_network(host.wiring(NETWORK, mtu=1430))
    old = {two.endpoint: Peer(two.mac, (two.ip,), "198.51.100.2")}
    assert first.plane.set_peers(NETWORK, old) == 0
    assert "another address family" in " ".join(first.plane.findings(first.wiring(NETWORK, mtu=1430), old))
    tell(one, two)
    assert one.ping(two.ip)


@pytest.mark.parametrize("order", ["gone-first", "new-first"])
def test_a_silent_container_takes_its_address_to_another_host(table: Bench, order):
    """It sends nothing: only what is programmed can lead to it."""
    first, second = table.pair()
    one, two = pair_of_containers((first, second))
    assert one.ping(two.ip)
    here, there = first.plane, second.plane
    # from there to here, where the one is that talks to it
    if order == "gone-first":
        here.drop_peer(NETWORK, two.endpoint, two.peer())
    two.end()
    moved = Container(first, "moved", NETWORK, two.ip, two.ip6)
    if order == "new-first":
        here.drop_peer(NETWORK, two.endpoint, two.peer())
    assert one.ping(moved.ip)
    assert one.ping(moved.ip6)
    # and back again
    here_again = Peer(moved.mac, (moved.ip, moved.ip6), second.vtep)
    if order == "new-first":
        here.put_peer(NETWORK, "ba" * 32, here_again)
    moved.end()
    back = Container(second, "back", NETWORK, two.ip, two.ip6)
    there.set_peers(NETWORK, {one.endpoint: one.peer()})
    if order == "gone-first":
        here.put_peer(NETWORK, "ba" * 32, here_again)
    assert one.ping(back.ip)
    assert one.ping(back.ip6)
    assert here.findings(first.wiring(NETWORK), {"ba" * 32: here_again}) == []


def test_an_address_has_its_next_owner_before_the_old_interface_has_gone(table: Bench):
    """Docker is answered before the kernel has removed a link; the address can be anybody's by then."""
    hosts = first, second = table.pair()
    one, two = pair_of_containers(hosts)
    run("ip", "link", "set", "eth0", "netns", first.path, inside=one.path)
    heir = Container(first, "heir", NETWORK, one.ip)
    assert heir.ping(two.ip)
    assert two.ping(heir.ip)
    # a reconcile in between does not give it back
    first.plane.ensure_network(first.wiring(NETWORK))
    assert two.ping(heir.ip)
    first.plane.detach(NETWORK, one.endpoint)
    assert two.ping(heir.ip)
    assert heir.ping(two.ip)
    peers = {two.endpoint: two.peer()}
    assert first.plane.findings(first.wiring(NETWORK), peers) == []
    # and where the next owner is on the other host
    away = Container(second, "away", NETWORK, "10.50.0.9")
    here = Container(first, "here", NETWORK, "10.50.0.8")
    first.plane.put_peer(NETWORK, away.endpoint, away.peer())
    second.plane.put_peer(NETWORK, here.endpoint, here.peer())
    assert here.ping(away.ip)
    moved = Container(second, "moved", NETWORK, heir.ip)
    second.plane.drop_peer(NETWORK, heir.endpoint, heir.peer())
    first.plane.put_peer(NETWORK, moved.endpoint, moved.peer())
    first.plane.detach(NETWORK, heir.endpoint)
    assert here.ping(moved.ip)


def test_traffic_goes_on_while_the_agent_is_away(table: Bench):
    first, second = table.pair()
    one, two = pair_of_containers((first, second))
    first.plane.close()
    assert one.ping(two.ip)
    first.plane = first.new_plane()
    assert not first.plane.ensure_network(first.wiring(NETWORK))
    assert first.plane.set_peers(NETWORK, {two.endpoint: two.peer()}) == 0
    assert first.plane.attached(NETWORK) == {one.endpoint[:12]}
    assert one.ping(two.ip)


def test_a_namespace_that_lost_its_name_is_bound_again_with_its_ports(table: Bench):
    first, second = table.pair()
    one, two = pair_of_containers((first, second))
    namespaces.remove(first.folder, f"mctl-{NETWORK[:12]}")
    assert one.ping(two.ip)
    assert first.plane.ensure_network(first.wiring(NETWORK))
    assert one.ping(two.ip)
    assert first.plane.attached(NETWORK) == {one.endpoint[:12]}


def test_the_resolver_is_reached_and_answers(table: Bench):
    first, second = table.pair()
    one, _ = pair_of_containers((first, second))
    udp, tcp = first.plane.listen(NETWORK)
    with udp, tcp:
        first.plane.resolver_route(one.path, one.mac)
        first.plane.resolver_route(one.path, one.mac)

        def ask() -> socket.socket:
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.settimeout(DEADLINE)
            made.sendto(b"question", (RESOLVER, 53))
            return made

        with one.run(ask) as client:
            udp.settimeout(DEADLINE)
            assert udp.recvfrom(100) == (b"question", (one.ip, client.getsockname()[1]))
            udp.sendto(b"answer", (one.ip, client.getsockname()[1]))
            assert client.recvfrom(100) == (b"answer", (RESOLVER, 53))
        with one.run(lambda: socket.create_connection((RESOLVER, 53), DEADLINE)) as client:
            tcp.settimeout(DEADLINE)
            served, (address, _) = tcp.accept()
            served.close()
            assert address == one.ip
    with pytest.raises(OSError, match="no interface has the MAC"):
        first.plane.resolver_route(one.path, "02:42:01:02:03:04")


def test_a_containers_interface_is_made_no_wider_than_its_network(table: Bench):
    first, _ = pair = table.pair()
    one, _ = pair_of_containers(pair)
    assert not first.plane.narrow(one.path, one.mac, 9000)
    assert first.plane.narrow(one.path, one.mac, 1300)
    assert one.run(lambda: fcntl.ioctl(socket.socket(), 0x8921, b"eth0".ljust(40, b"\0")))[
        16:20
    ] == struct.pack("i", 1300)  # SIOCGIFMTU
    assert not first.plane.narrow(one.path, one.mac, 1300)
    with pytest.raises(OSError, match="no interface has the MAC"):
        first.plane.narrow(one.path, "02:42:01:02:03:04", 1300)


def test_nothing_of_ours_is_heard_on_the_overlay(table: Bench):
    """No router or neighbour discovery, MLD or spanning tree of the bridges: containers hear only containers."""
    one, _ = pair_of_containers(table.pair())

    def hear() -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        made.bind(("eth0", 0))
        made.settimeout(1.5)
        return made

    with one.run(hear) as ears:
        heard = []
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            try:
                frame, (_, _, kind, _, _) = ears.recvfrom(2000)
            except TimeoutError:
                break
            if kind != socket.PACKET_OUTGOING and frame[6:8] != b"\x02\x42":
                heard.append(frame.hex())
    assert heard == []
