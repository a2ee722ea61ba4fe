"""The DNS server on loopback, with real sockets and real upstreams."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from dnslib import EDNS0, QTYPE, RCODE, RR, TXT, A, DNSRecord, EDNSOption
from dnslib.server import BaseResolver, DNSServer
from hypothesis import given
from hypothesis import strategies as st

from machinectl_agent.daemon.journal import Journal
from machinectl_agent.network.dns import conversation, forward, server
from machinectl_agent.network.dns.forward import is_answer
from machinectl_agent.network.dns.limits import Places, Rate
from machinectl_agent.network.dns.query import Malformed, parse_query
from machinectl_agent.network.dns.server import Server
from machinectl_agent.network.dns.standing import Standing
from machinectl_agent.network.dns.upstreams import Upstreams, address_of, parse
from machinectl_agent.network.dns.zone import Zone
from machinectl_agent.network.records import EndpointRecord, NetworkRecord, Pool

NETWORK = NetworkRecord("n1", "demo", 1, (Pool("127.1.0.0/16"),))
INTERNAL = NetworkRecord("n2", "inside", 2, (Pool("127.2.0.0/16"),), internal=True)


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """No upstream is given up because this machine is busy; less than a client waits."""
    for module in ("forward", "relay"):
        monkeypatch.setattr(f"machinectl_agent.network.dns.{module}.PATIENCE", 5.0)


def record(id, network, ip, name, aliases=()):
    return EndpointRecord(id, network.id, "m1", ip, "", "", name, tuple(aliases))


class Answering(BaseResolver):  # type: ignore[misc]
    """An upstream that knows every name below example.org, and counts."""

    def __init__(self, rcode=RCODE.NOERROR, size=1, mangle=None):
        self.rcode, self.size, self.mangle = rcode, size, mangle
        self.asked = []

    def resolve(self, request, handler):
        self.asked.append((str(request.q.qname), handler.protocol))
        reply = request.reply(aa=0)
        reply.header.rcode = self.rcode
        if self.rcode == RCODE.NOERROR and str(request.q.qname).lower().endswith("example.org."):
            if request.q.qtype == QTYPE.TXT:
                reply.add_answer(
                    *[RR(request.q.qname, QTYPE.TXT, rdata=TXT("x" * 200), ttl=9) for _ in range(self.size)]
                )
            else:
                reply.add_answer(RR(request.q.qname, rdata=A("192.0.2.1"), ttl=9))
        elif self.rcode == RCODE.NOERROR:
            reply.header.rcode = RCODE.NXDOMAIN
        if self.mangle:
            self.mangle(reply)
        return reply


class Quiet:
    """No lines on stdout, and truncation as dnslib's own server does it."""

    def __getattr__(self, name):
        return lambda *_: None


@contextlib.contextmanager
def upstream(resolver):
    """UDP and TCP on one port, as text for the server's list."""
    while True:
        udp = DNSServer(resolver, address="127.0.0.1", port=0, logger=Quiet())
        port = udp.server.server_address[1]
        try:
            tcp = DNSServer(resolver, address="127.0.0.1", port=port, tcp=True, logger=Quiet())
            break
        except OSError:  # free for UDP is not free for TCP
            udp.server.server_close()
    for one in (udp, tcp):
        one.start_thread()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        for one in (udp, tcp):
            one.stop()
            one.server.server_close()


@contextlib.contextmanager
def silent():
    """An upstream that takes questions and says nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        yield one, f"127.0.0.1:{one.getsockname()[1]}"


def sockets():
    while True:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        try:
            return udp, socket.create_server(udp.getsockname(), backlog=64)
        except OSError:  # another's TCP socket has the port
            udp.close()


class Served:
    """A server, and how to ask it: from 127.1.… as a container of NETWORK, from 127.2.… of INTERNAL."""

    def __init__(self, upstreams=(), **options):
        self.zone = Zone()
        self.zone.set_networks([NETWORK, INTERNAL])
        self.zone.set_endpoints("n1", [record("e1", NETWORK, "127.1.0.2", "web")])
        self.zone.set_endpoints("n2", [record("e2", INTERNAL, "127.2.0.2", "db")])
        self.server = Server(self.zone, lambda: list(upstreams), **options)
        self.ports = {}
        for network in ("n1", "n2", None):
            self.add(network)
        self.server.start()

    def add(self, network):
        udp, tcp = sockets()
        self.ports[network] = udp.getsockname()[1]
        self.server.add(network, udp, tcp)
        return udp, tcp

    def send(self, packet, network="n1", source="127.1.0.2", tcp=False, timeout=8.0):
        """The reply, None where there is none in `timeout`."""
        kind = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
        with socket.socket(socket.AF_INET, kind) as one:
            one.settimeout(timeout)
            one.bind((source, 0))
            one.connect(("127.0.0.1", self.ports[network]))
            try:
                if not tcp:
                    one.send(packet)
                    return one.recv(65535)
                one.sendall(struct.pack("!H", len(packet)) + packet)
                return forward.read_message(one, time.monotonic() + timeout)
            except (TimeoutError, ConnectionError):
                return None

    def ask(self, name, kind="A", edns=None, **how):
        query = DNSRecord.question(name, kind)
        if edns is not None:
            query.add_ar(edns)
        packet = self.send(query.pack(), **how)
        assert packet is not None
        reply = DNSRecord.parse(packet)
        assert reply.header.id == query.header.id
        assert reply.header.qr == 1
        return reply


@contextlib.contextmanager
def served(*upstreams, **options):
    one = Served(upstreams, **options)
    try:
        yield one
    finally:
        one.server.close()


def shown(reply):
    return RCODE[reply.header.rcode], bool(reply.header.aa), [str(one.rdata) for one in reply.rr]


@pytest.mark.parametrize("tcp", [False, True])
class TestOwnNames:
    def test_answers(self, tcp):
        with served() as one:
            assert shown(one.ask("WEB.demo.", tcp=tcp)) == ("NOERROR", True, ["127.1.0.2"])
            reply = one.ask("web", "AAAA", tcp=tcp)
            assert shown(reply) == ("NOERROR", True, [])
            assert [(QTYPE[soa.rtype], soa.ttl) for soa in reply.auth] == [("SOA", 5)]
            assert shown(one.ask("2.0.1.127.in-addr.arpa", "PTR", tcp=tcp)) == (
                "NOERROR",
                True,
                ["web.demo."],
            )
            assert shown(one.ask("3.0.1.127.in-addr.arpa", "PTR", tcp=tcp)) == ("NXDOMAIN", True, [])

    def test_the_question_comes_back_as_it_was_spelt(self, tcp):
        with served() as one:
            reply = one.ask("wEb", tcp=tcp)
            assert reply.q.qname.label == (b"wEb",) == reply.rr[0].rname.label

    def test_a_dot_in_a_label_is_no_dot(self, tcp):
        with served() as one:
            query = DNSRecord.question("x")
            query.q.qname.label = (b"web.demo",)
            assert shown(DNSRecord.parse(one.send(query.pack(), tcp=tcp))) == ("NXDOMAIN", True, [])

    def test_no_upstream_at_all(self, tcp):
        with served() as one:
            assert shown(one.ask("nobody", tcp=tcp)) == ("NXDOMAIN", True, [])

    def test_bad_versions_classes_and_transfers(self, tcp):
        with served() as one:
            reply = one.ask("web", edns=EDNS0(version=1, udp_len=4096), tcp=tcp)
            assert (reply.ar[0].edns_rcode, reply.header.rcode, reply.ar[0].edns_ver) == (1, 0, 0)
            query = DNSRecord.question("version.bind", "TXT", "CH")
            assert shown(DNSRecord.parse(one.send(query.pack(), tcp=tcp)))[0] == "REFUSED"
            assert shown(one.ask("demo", "AXFR", tcp=tcp))[0] == "REFUSED"


class TestEdns:
    def test_opt_comes_back_only_to_who_sent_it(self):
        with served() as one:
            assert one.ask("web").ar == []
            opt = EDNS0(flags="do", udp_len=4096, opts=[EDNSOption(10, b"12345678")])
            (found,) = one.ask("web", edns=opt).ar
            assert (found.rclass, found.edns_do, found.rdata) == (1232, 1, [])

    def test_what_does_not_fit_is_asked_for_by_tcp(self):
        with served() as one:
            replicas = [record(f"r{n}", NETWORK, f"127.1.1.{n}", f"r{n}", ["pool"]) for n in range(1, 201)]
            one.zone.set_endpoints("n1", replicas)
            for edns, most in (
                (None, 512),
                (EDNS0(udp_len=100), 512),
                (EDNS0(udp_len=900), 900),
                (EDNS0(udp_len=9000), 1232),
            ):
                reply = one.ask("pool", edns=edns)
                assert reply.header.tc
                assert most - 16 < len(reply.pack()) <= most
            reply = one.ask("pool", tcp=True)
            assert (reply.header.tc, len(reply.rr)) == (0, 200)


class TestMalformed:
    def test_status_or_silence(self):
        with served() as one:
            good = DNSRecord.question("web").pack()
            two = DNSRecord.question("web")
            two.add_question(DNSRecord.question("db").q)
            opts = DNSRecord.question("web")
            opts.add_ar(EDNS0(udp_len=4096), EDNS0(udp_len=4096))
            update = DNSRecord.question("web")
            update.header.opcode = 5
            cases = {
                bytes(good[:14]): "FORMERR",
                bytes(good[:12]): "FORMERR",
                bytes(good[:12]) + b"\xc0\x0c\0\1\0\1": "FORMERR",  # a name that points to itself
                bytes(good[:12]) + b"\x03w\xffb\0\0\1\0\1": "FORMERR",
                bytes(two.pack()): "FORMERR",
                bytes(opts.pack()): "FORMERR",
                bytes(update.pack()): "NOTIMP",
            }
            for packet, status in cases.items():
                for tcp in (False, True):
                    assert RCODE[DNSRecord.parse(one.send(packet, tcp=tcp)).header.rcode] == status
            for packet in (b"", b"x", bytes(good[:11]), bytes(DNSRecord.question("web").reply().pack())):
                assert one.send(packet, tcp=True) is None
                assert one.send(packet, timeout=0.1) is None
            assert shown(one.ask("web"))[2] == ["127.1.0.2"]

    @given(st.binary(max_size=600))
    def test_any_bytes(self, packet):
        with contextlib.suppress(Malformed):
            parse_query(packet)

    @given(st.data())
    def test_a_damaged_query(self, data):
        query = DNSRecord.question("a.b.c.web.demo")
        query.add_ar(EDNS0(udp_len=4096, opts=[EDNSOption(10, b"12345678")]))
        packet = bytearray(query.pack())
        for place in data.draw(st.lists(st.integers(0, len(packet) - 1), max_size=4)):
            packet[place] = data.draw(st.integers(0, 255))
        with contextlib.suppress(Malformed):
            parsed = parse_query(bytes(packet))
            is_answer(bytes(packet), bytes(packet), parsed)

    def test_names_that_point_and_point(self):
        """Thousands of pointers, each to the one before, hidden in OPT or in labels that are text, too."""
        pointers = b"".join(struct.pack("!H", 0xC000 | (30 + 2 * n)) for n in range(8000))
        head = bytes(DNSRecord.question("web").pack()[:4]) + struct.pack("!4H", 1, 0, 0, 4) + b"\0\0\1\0\1"
        opt = b"\0" + struct.pack("!HHIHHH", 41, 4096, 0, len(pointers) + 4, 10, len(pointers)) + pointers
        assert parse_query(head + opt + pointers[-2:]).opt is not None
        labels = b"".join(b"\x3e" + b"\xc2\x80" * 31 for _ in range(20))
        for name in (labels + b"\xc2\x80", labels + b"\0", b"\1x\xc0\x0c", b"\x80x\0", b"\x3f"):
            query = bytes(DNSRecord.question("web").pack()[:12]) + name + b"\0\1\0\1"
            with pytest.raises(Malformed):
                parse_query(query)
            good = parse_query(bytes(DNSRecord.question("web").pack()))
            assert not is_answer(query[:2] + b"\x81" + query[3:], query, good)

    def test_a_flood_of_noise_ends_nothing(self):
        with served() as one, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noise:
            for _ in range(2000):
                noise.sendto(os.urandom(40), ("127.0.0.1", one.ports["n1"]))
            # the kernel drops what does not fit into the socket's queue: the client asks again, as all do
            packet = bytes(DNSRecord.question("web").pack())
            replies = (one.send(packet, timeout=1) for _ in range(5))
            assert shown(DNSRecord.parse(next(filter(None, replies))))[2] == ["127.1.0.2"]
            assert one.server.is_well()


class TestForwarding:
    @pytest.mark.parametrize("tcp", [False, True])
    def test_what_is_not_ours(self, tcp):
        known = Answering()
        with upstream(known) as first, served(first) as one:
            for network, source in (("n1", "127.1.0.2"), ("n1", "127.0.0.1"), (None, "127.0.0.1")):
                reply = one.ask("a.example.org", network=network, source=source, tcp=tcp)
                assert shown(reply) == ("NOERROR", False, ["192.0.2.1"])
            assert shown(one.ask("nobody", tcp=tcp)) == ("NXDOMAIN", False, [])
            assert len(known.asked) == 4

    @pytest.mark.parametrize("tcp", [False, True])
    def test_nothing_leaves_an_internal_network(self, tcp):
        known = Answering()
        with upstream(known) as first, served(first) as one:
            inside = {"network": "n2", "source": "127.2.0.2", "tcp": tcp}
            assert shown(one.ask("db", **inside)) == ("NOERROR", True, ["127.2.0.2"])
            assert shown(one.ask("secret.example.org", **inside)) == ("REFUSED", False, [])
            assert shown(one.ask("8.8.8.8.in-addr.arpa", "PTR", **inside)) == ("REFUSED", False, [])
            assert known.asked == []

    def test_a_host_without_names_of_ours(self):
        with upstream(Answering()) as first, served(first) as one:
            assert shown(one.ask("web", network=None)) == ("NXDOMAIN", False, [])

    @pytest.mark.parametrize("tcp", [False, True])
    def test_the_next_one_where_one_fails(self, tcp):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            closed = f"127.0.0.1:{taken.getsockname()[1]}"
        failing, refusing, good = Answering(RCODE.SERVFAIL), Answering(RCODE.REFUSED), Answering()
        with (
            upstream(failing) as first, upstream(refusing) as second, upstream(good) as third,
            served(first, second, third) as one, served(first, second) as two, served(closed, third) as three,
        ):  # fmt: skip
            assert shown(one.ask("a.example.org", tcp=tcp))[2] == ["192.0.2.1"]
            assert shown(two.ask("a.example.org", tcp=tcp))[0] == "REFUSED"
            assert shown(three.ask("a.example.org", tcp=tcp))[2] == ["192.0.2.1"]

    def test_other_states_are_passed_on(self):
        good = Answering()
        with (
            upstream(Answering(RCODE.NOTIMP)) as first,
            upstream(good) as second,
            served(first, second) as one,
        ):
            assert shown(one.ask("a.example.org"))[0] == "NOTIMP"
            assert good.asked == []

    @pytest.mark.parametrize("tcp", [False, True])
    def test_a_silent_one_costs_its_patience_once(self, monkeypatch, tcp):
        for module in ("forward", "relay"):
            monkeypatch.setattr(f"machinectl_agent.network.dns.{module}.PATIENCE", 1.0)
        with silent() as (_, first), upstream(Answering()) as second, served(first, second) as one:
            began = time.monotonic()
            assert shown(one.ask("a.example.org", tcp=tcp))[2] == ["192.0.2.1"]
            assert time.monotonic() - began >= 1.0
            began = time.monotonic()
            for _ in range(5):
                assert shown(one.ask("a.example.org", tcp=tcp))[2] == ["192.0.2.1"]
            assert time.monotonic() - began < 5 * 1.0

    def test_all_silent(self, monkeypatch):
        monkeypatch.setattr("machinectl_agent.network.dns.relay.PATIENCE", 0.1)
        with silent() as (_, first), silent() as (_, second), served(first, second) as one:
            assert shown(one.ask("a.example.org"))[0] == "SERVFAIL"
            assert shown(one.ask("web"))[2] == ["127.1.0.2"]

    def test_own_names_do_not_wait_for_a_silent_upstream(self, monkeypatch):
        monkeypatch.setattr("machinectl_agent.network.dns.relay.PATIENCE", 3.0)
        with silent() as (asked, first), served(first) as one, ThreadPoolExecutor() as pool:
            asked.settimeout(5)
            waiting = pool.submit(one.ask, "a.example.org")
            asked.recv(512)
            assert shown(one.ask("web"))[2] == ["127.1.0.2"]
            assert not waiting.done()
            assert shown(waiting.result())[0] == "SERVFAIL"

    def test_only_the_answer_to_our_question_counts(self):
        """Wrong id, wrong question and a query, before the right answer; and a random id towards the upstream."""
        with silent() as (asked, first), served(first) as one, ThreadPoolExecutor() as pool:
            asked.settimeout(5)
            ids, ports = set(), set()
            for _ in range(20):
                query = DNSRecord.question("a.example.org")
                query.header.id = 7
                result = pool.submit(one.send, query.pack())
                packet, source = asked.recvfrom(512)
                seen = DNSRecord.parse(packet)
                ids.add(seen.header.id)
                ports.add(source[1])
                wrong = seen.reply()
                wrong.add_answer(RR("a.example.org", rdata=A("203.0.113.66")))
                wrong.header.id = (seen.header.id + 1) % 65536
                asked.sendto(wrong.pack(), source)
                wrong.header.id = seen.header.id
                wrong.questions[0] = DNSRecord.question("b.example.org").q
                asked.sendto(wrong.pack(), source)
                asked.sendto(packet, source)
                asked.sendto(b"\0", source)
                right = seen.reply()
                right.questions[0] = DNSRecord.question("A.EXAMPLE.ORG").q
                right.add_answer(RR("a.example.org", rdata=A("192.0.2.1")))
                asked.sendto(right.pack(), source)
                reply = DNSRecord.parse(result.result())
                assert (reply.header.id, shown(reply)[2]) == (7, ["192.0.2.1"])
            assert len(ids) > 15
            assert len(ports) > 10

    def test_what_dnslib_cannot_read_gets_through(self):
        """An empty record, of a type that nobody knows."""
        with silent() as (asked, first), served(first) as one, ThreadPoolExecutor() as pool:
            asked.settimeout(5)
            result = pool.submit(one.send, bytes(DNSRecord.question("a.example.org", "TYPE64999").pack()))
            packet, source = asked.recvfrom(512)
            strange = (
                packet[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + packet[12:] + b"\xc0\x0c\xfd\xe7\0\1\0\0\0\5\0\0"
            )
            asked.sendto(strange, source)
            assert result.result()[2:] == strange[2:]

    def test_a_long_answer(self):
        long = Answering(size=20)
        with upstream(long) as first, served(first) as one:
            reply = one.ask("a.example.org", "TXT")
            assert (reply.header.tc, reply.rr) == (1, [])
            reply = one.ask("a.example.org", "TXT", tcp=True)
            assert (reply.header.tc, len(reply.rr)) == (0, 20)

    def test_a_server_that_sends_more_than_it_was_asked_for(self):
        with silent() as (asked, first), served(first) as one, ThreadPoolExecutor() as pool:
            asked.settimeout(5)
            result = pool.submit(one.send, bytes(DNSRecord.question("a.example.org", "TXT").pack()))
            packet, source = asked.recvfrom(512)
            reply = DNSRecord.parse(packet).reply()
            reply.add_answer(*[RR("a.example.org", QTYPE.TXT, rdata=TXT("x" * 200)) for _ in range(5)])
            asked.sendto(reply.pack(), source)
            short = DNSRecord.parse(result.result())
            assert (short.header.tc, short.rr) == (1, [])

    def test_never_to_ourselves(self):
        upstreams: list[str] = []
        one = Served(upstreams)
        try:
            upstreams.extend(f"127.0.0.1:{port}" for port in one.ports.values())
            assert shown(one.ask("a.example.org")) == ("NXDOMAIN", True, [])
        finally:
            one.server.close()


class TestLimits:
    def test_one_client_cannot_take_all_places(self, monkeypatch):
        monkeypatch.setattr(server, "WAITING_EACH", 4)
        monkeypatch.setattr("machinectl_agent.network.dns.relay.PATIENCE", 1.2)
        with silent() as (_, first), served(first) as one, ThreadPoolExecutor(8) as pool:
            results = [pool.submit(one.ask, "a.example.org") for _ in range(8)]
            quick = [shown(result.result())[0] for result in results]
            assert quick == ["SERVFAIL"] * 8  # half of them at once, Docker's resolver asks the next server
            assert len(one.server._waiting) == 0

    def test_too_many_questions_of_one_client_are_dropped(self):
        with served(rate=1) as one:
            replies = [one.send(bytes(DNSRecord.question("web").pack()), timeout=0.1) for _ in range(3)]
            assert None in replies
            assert shown(one.ask("web", source="127.1.0.3"))[2] == ["127.1.0.2"]

    def test_rate_and_places(self):
        now = [0.0]
        rate = Rate(2, clock=lambda: now[0])
        assert [rate.allows("a") for _ in range(3)] == [True, True, False]
        assert rate.allows("b")
        now[0] = 1.0
        assert rate.allows("a")
        places = Places(3, 2)
        assert [places.take("a"), places.take("a"), places.take("a")] == [True, True, False]
        assert [places.take("b"), places.take("c")] == [True, False]
        places.give("a")
        assert places.take("c")

    def test_connections_of_one_client(self):
        with served() as one, contextlib.ExitStack() as stack:
            held = [
                stack.enter_context(
                    socket.create_connection(("127.0.0.1", one.ports["n1"]), 5, ("127.1.0.2", 0))
                )
                for _ in range(conversation.EACH)
            ]
            assert one.send(bytes(DNSRecord.question("web").pack()), tcp=True) is None
            assert shown(one.ask("web", tcp=True, source="127.1.0.3"))[2] == ["127.1.0.2"]
            assert held

    def test_a_slow_or_greedy_client_is_shown_out(self, monkeypatch):
        monkeypatch.setattr(conversation, "IDLE", 0.2)
        with served() as one:
            for start in (b"", b"\0", b"\0\x20abc", b"\xff\xff" + b"x" * 4097):
                with socket.create_connection(("127.0.0.1", one.ports["n1"]), timeout=5) as slow:
                    slow.sendall(start)
                    with contextlib.suppress(ConnectionResetError):
                        assert slow.recv(1) == b""

    def test_several_questions_on_one_connection(self):
        with served() as one, socket.create_connection(("127.0.0.1", one.ports["n1"]), timeout=5) as client:
            packet = bytes(DNSRecord.question("web").pack())
            client.sendall(3 * (struct.pack("!H", len(packet)) + packet))
            for _ in range(3):
                assert shown(DNSRecord.parse(forward.read_message(client, time.monotonic() + 5)))[2] == [
                    "127.1.0.2"
                ]


class TestLife:
    def test_removed_is_closed_and_others_go_on(self):
        with served() as one:
            udp, tcp = one.add("n3")
            with socket.create_connection(tcp.getsockname(), timeout=5) as client:
                client.sendall(b"\0")
                one.server.remove("n3")
                assert (udp.fileno(), tcp.fileno()) == (-1, -1)
                with contextlib.suppress(ConnectionResetError):
                    assert client.recv(1) == b""
            one.server.remove("n3")
            assert shown(one.ask("web"))[2] == ["127.1.0.2"]

    def test_added_again_replaces(self):
        with served() as one:
            old, _ = one.add("n3")
            one.add("n3")
            assert old.fileno() == -1
            assert shown(one.ask("nobody", network="n3"))[0] == "REFUSED"

    def test_without_its_thread(self):
        """As where somebody only wants the parts."""
        idle = Server(Zone(), lambda: [])
        udp, tcp = sockets()
        idle.add("n1", udp, tcp)
        idle.remove("n1")
        assert udp.fileno() == -1
        late = sockets()
        idle.close()
        idle.close()
        idle.add("n1", *late)
        assert late[0].fileno() == -1
        idle.run()
        assert not idle.is_well()

    def test_a_fault_of_ours_is_told_once_and_ends_nothing(self, monkeypatch):
        journal = Journal(io.StringIO())
        with served(journal=journal) as one:
            right = one.zone.answer

            def wrong(network, source, name, kind):
                return {}[name] if name == "boom" else right(network, source, name, kind)

            monkeypatch.setattr(one.zone, "answer", wrong)
            for tcp in (False, True):
                assert one.send(bytes(DNSRecord.question("boom").pack()), tcp=tcp, timeout=0.1) is None
                assert shown(one.ask("web", tcp=tcp))[2] == ["127.1.0.2"]
            assert [event["text"] for event in journal.last(9)] == ["dns: KeyError('boom')"]

    def test_close_closes_all(self):
        one = Served()
        udp, tcp = one.add("n3")
        one.server.close()
        assert (udp.fileno(), tcp.fileno()) == (-1, -1)

    def test_many_networks_come_and_go_under_load(self):
        with served() as one:
            ended = threading.Event()

            def load():
                count = 0
                while not ended.is_set():
                    assert shown(one.ask("web"))[2] == ["127.1.0.2"]
                    count += 1
                return count

            with ThreadPoolExecutor() as pool:
                loads = [pool.submit(load) for _ in range(2)]
                for number in range(60):
                    one.add(f"x{number % 20}")
                for number in range(20):
                    one.server.remove(f"x{number}")
                ended.set()
                assert all(result.result() > 0 for result in loads)


class TestUpstreams:
    def test_resolv_conf(self, tmp_path):
        file, resolved = tmp_path / "resolv.conf", tmp_path / "resolved"
        found = Upstreams(file=str(file), resolved=str(resolved))
        assert found() == ()
        file.write_text(
            "# x\nnameserver 10.0.0.1\nnameserver\nnameserver fe80::1%eth0\nnameserver 169.254.77.53\nnameserver x\nsearch a\n"
        )
        assert found() == ("10.0.0.1", "fe80::1%eth0")
        file.write_text("nameserver 127.0.0.53\n")
        assert found() == ("127.0.0.53",)
        resolved.write_text("nameserver 10.0.0.2\nnameserver 10.0.0.2\n")
        assert found() == ("10.0.0.2",)
        file.write_text("nameserver 127.0.0.1\n")
        assert found() == ("127.0.0.1",)
        file.unlink()
        assert found() == ()

    def test_fixed(self):
        assert Upstreams(["10.0.0.1:5353", "169.254.77.53", "no address"])() == ("10.0.0.1:5353",)

    def test_addresses(self):
        assert [address_of(one) for one in ("10.0.0.1", "10.0.0.1:54", "fe80::1%eth0", "[::1]:55", "[::1]")] == [
            ("10.0.0.1", 53), ("10.0.0.1", 54), ("fe80::1%eth0", 53), ("::1", 55), ("::1", 53),
        ]  # fmt: skip

    @given(st.text())
    def test_any_file(self, text):
        parse(text)

    def test_standing(self):
        now = [0.0]
        standing = Standing(clock=lambda: now[0])
        standing.failed("a")
        assert standing.order(["a", "b", "c", "d"]) == ["b", "c", "d"]
        assert standing.order(["a", "b"]) == ["b", "a"]
        now[0] = 11.0
        assert standing.order(["a", "b"]) == ["a", "b"]
        standing.failed("a")
        standing.answered("a")
        assert standing.order(["a", "b"]) == ["a", "b"]
