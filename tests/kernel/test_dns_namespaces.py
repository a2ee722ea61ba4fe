"""Names inside of network namespaces, asked by the C library's own resolver, as containers do."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from dnslib import RCODE, RR, A
from dnslib.server import BaseResolver, DNSServer

from machinectl_agent.network.dns.server import Server
from machinectl_agent.network.dns.zone import Zone
from machinectl_agent.network.netlink.namespaces import inside
from machinectl_agent.network.paths import RESOLVER
from machinectl_agent.network.records import EndpointRecord, NetworkRecord, Pool
from tests.ports import free_port

pytestmark = pytest.mark.root

FRONT = NetworkRecord("f" * 64, "front", 1, (Pool("10.77.1.0/24"),))
BACK = NetworkRecord("b" * 64, "back", 2, (Pool("10.77.2.0/24"),), internal=True)


def record(id, network, ip, name, aliases=()):
    return EndpointRecord(id, network.id, "m1", ip, "", "", name, tuple(aliases))


def ip(*words, check=True):
    return subprocess.run(["ip", *words], check=check, capture_output=True, text=True, timeout=30)


class Upstream(BaseResolver):  # type: ignore[misc]
    """On the host's loopback, where no container can reach it."""

    def __init__(self):
        self.asked = []

    def resolve(self, request, handler):
        self.asked.append(str(request.q.qname))
        reply = request.reply(aa=0)
        if str(request.q.qname) == "out.example.":
            if request.q.qtype == 1:
                reply.add_answer(RR("out.example.", rdata=A("192.0.2.7"), ttl=9))
        else:
            reply.header.rcode = RCODE.NXDOMAIN
        return reply


class Place:
    """A namespace for each network, with the resolver's address in it, and one for each container."""

    def __init__(self):
        self.tag = f"t{os.getpid() % 100000}"
        self.made = []

    def namespace(self, name):
        ip("netns", "add", f"{self.tag}{name}")
        self.made.append(f"{self.tag}{name}")
        ip("-n", f"{self.tag}{name}", "link", "set", "lo", "up")

    def network(self, name, subnet):
        self.namespace(name)
        here = ["-n", f"{self.tag}{name}"]
        ip(*here, "link", "add", "br0", "type", "bridge")
        ip(*here, "addr", "add", f"{RESOLVER}/32", "dev", "br0")
        ip(*here, "link", "set", "br0", "up")
        ip(*here, "route", "add", subnet, "dev", "br0")

    def container(self, name, options=""):
        self.namespace(name)
        folder = Path(f"/etc/netns/{self.tag}{name}")  # ip-netns(8) mounts it over /etc
        folder.mkdir(parents=True)
        (folder / "resolv.conf").write_text(
            f"nameserver {RESOLVER}\noptions timeout:3 attempts:2 {options}\n"
        )
        (folder / "nsswitch.conf").write_text("hosts: dns\n")

    def plug(self, container, network, address, eth):
        port = f"{self.tag}{container[:1]}{network[:1]}"
        ip("link", "add", port, "type", "veth", "peer", "name", f"{port}x")
        ip("link", "set", port, "netns", f"{self.tag}{network}")
        ip("link", "set", f"{port}x", "netns", f"{self.tag}{container}", "name", eth)
        ip("-n", f"{self.tag}{network}", "link", "set", port, "master", "br0", "up")
        ip("-n", f"{self.tag}{container}", "addr", "add", f"{address}/24", "dev", eth)
        ip("-n", f"{self.tag}{container}", "link", "set", eth, "up")
        ip("-n", f"{self.tag}{container}", "route", "replace", f"{RESOLVER}/32", "dev", eth)

    def sockets(self, network):
        def bind():
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            udp.bind((RESOLVER, 53))
            return udp, socket.create_server((RESOLVER, 53))

        return inside(f"/run/netns/{self.tag}{network}", bind)

    def getent(self, container, *words):
        """Addresses or names, as the C library finds them; empty without any."""
        command = ["ip", "netns", "exec", f"{self.tag}{container}", "getent", *words]
        found = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
        assert found.returncode in (0, 2), found.stderr
        return [line.split() for line in found.stdout.splitlines()]

    def addresses(self, container, name):
        return {line[0] for line in self.getent(container, "ahostsv4", name)}

    def close(self):
        for one in self.made:
            ip("netns", "del", one, check=False)
            shutil.rmtree(f"/etc/netns/{one}", ignore_errors=True)


@pytest.fixture(scope="module")
def place():
    one = Place()
    try:
        one.network("front", "10.77.1.0/24")
        one.network("back", "10.77.2.0/24")
        for name, options in (("web", ""), ("app", ""), ("db", ""), ("vc", "use-vc")):
            one.container(name, options)
        one.plug("web", "front", "10.77.1.2", "eth0")
        one.plug("vc", "front", "10.77.1.4", "eth0")
        one.plug("app", "front", "10.77.1.3", "eth0")
        one.plug("app", "back", "10.77.2.3", "eth1")  # its way to the resolver leads through the internal one
        one.plug("db", "back", "10.77.2.2", "eth0")
        yield one
    finally:
        one.close()


@pytest.fixture
def upstream():
    resolver = Upstream()

    class Quiet:
        def __getattr__(self, _name):
            return lambda *_: None

    port = free_port()
    udp = DNSServer(resolver, address="127.0.0.1", port=port, logger=Quiet())
    tcp = DNSServer(resolver, address="127.0.0.1", port=port, tcp=True, logger=Quiet())
    for one in (udp, tcp):
        one.start_thread()
    yield resolver, f"127.0.0.1:{port}"
    for one in (udp, tcp):
        one.stop()
        one.server.server_close()


@pytest.fixture
def zone(place, upstream):
    zone = Zone()
    zone.set_networks([FRONT, BACK])
    replicas = [record(f"r{n}", FRONT, f"10.77.1.{n}", f"r{n}", ["pool"]) for n in range(10, 250)]
    app = [record("e2", FRONT, "10.77.1.3", "app"), record("e3", BACK, "10.77.2.3", "app")]
    zone.set_endpoints(FRONT.id, [record("e1", FRONT, "10.77.1.2", "web", ["www"]), app[0], *replicas])
    zone.set_endpoints(BACK.id, [record("e4", BACK, "10.77.2.2", "db"), app[1]])
    zone.set_sandboxes({"e2": [FRONT.id, BACK.id], "e3": [FRONT.id, BACK.id]})
    server = Server(zone, lambda: [upstream[1]])
    server.start()
    server.add(FRONT.id, *place.sockets("front"))
    server.add(BACK.id, *place.sockets("back"))
    yield zone
    server.close()


@pytest.mark.parametrize("client", ["web", "vc"])
def test_names_and_addresses(zone, place, client):
    for name in ("web", "WWW", "web.front", "web.front."):
        assert place.addresses(client, name) == {"10.77.1.2"}
    # getent asks for AAAA, gets no data, and maps what A gives
    assert {line[0] for line in place.getent(client, "ahostsv6", "web")} == {"::ffff:10.77.1.2"}
    assert place.getent(client, "hosts", "10.77.1.3") == [["10.77.1.3", "app.front"]]
    assert place.getent(client, "hosts", "10.77.1.9") == []


def test_more_than_a_packet_takes(zone, place):
    """The C library asks again by TCP."""
    assert len(place.addresses("web", "pool")) == 240


def test_a_container_in_two_networks_asks_through_one_and_sees_both(zone, place):
    assert place.addresses("app", "web") == {"10.77.1.2"}
    assert place.addresses("app", "db") == {"10.77.2.2"}
    assert place.addresses("app", "app") == {"10.77.1.3", "10.77.2.3"}


def test_a_container_sees_no_names_of_other_networks(zone, place):
    assert place.addresses("web", "db") == set()
    assert place.addresses("db", "web") == set()
    assert place.getent("db", "hosts", "10.77.1.2") == []


def test_what_leaves_and_what_does_not(zone, place, upstream):
    assert place.addresses("web", "out.example") == {"192.0.2.7"}
    assert place.addresses("vc", "out.example") == {"192.0.2.7"}
    assert place.addresses("app", "out.example") == {"192.0.2.7"}
    upstream[0].asked.clear()
    assert place.addresses("db", "out.example") == set()
    assert upstream[0].asked == []


def test_changes_are_seen_at_once(zone, place):
    zone.put_endpoint(record("e9", FRONT, "10.77.1.9", "late"))
    assert place.addresses("web", "late") == {"10.77.1.9"}
    zone.drop_endpoint(FRONT.id, "e9")
    assert place.addresses("web", "late") == set()


def test_a_removed_network_leaves_its_namespace_free(place):
    """A namespace lives as long as a socket in it, also one of a client's connection."""
    place.network("gone", "10.77.9.0/24")
    server = Server(Zone(), lambda: [])
    server.start()
    server.add("gone", *place.sockets("gone"))
    name = f"/run/netns/{place.tag}gone"
    client = inside(name, lambda: socket.create_connection((RESOLVER, 53), timeout=5))
    port = f"{place.tag}gone"
    ip("link", "add", port, "type", "veth", "peer", "name", f"{port}x")
    ip("link", "set", f"{port}x", "netns", f"{place.tag}gone")
    client.send(b"\0")
    server.remove("gone")
    with client, contextlib.suppress(ConnectionResetError):
        assert client.recv(1) == b""
    ip("netns", "del", f"{place.tag}gone")
    deadline = time.monotonic() + 60
    while ip("link", "show", port, check=False).returncode == 0:
        assert time.monotonic() < deadline, "something still holds the namespace"
        threading.Event().wait(0.02)  # the kernel cleans up behind our back, and tells nobody
    server.close()
