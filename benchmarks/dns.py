"""Latency and throughput of the agent's DNS, with few and with many endpoints, and its forwarding.

    python benchmarks/dns.py [ENDPOINTS]

The server runs in a process of its own; small and large zones take turns. Targets: half of the answers within 1 ms,
and with ENDPOINTS (20,000) a lookup takes at most 1.5 times as long as with 20. Exit status 1 where it misses them.
"""

from __future__ import annotations

import multiprocessing
import resource
import selectors
import socket
import statistics
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

from dnslib import RR, A, DNSRecord
from dnslib.server import BaseResolver, DNSLogger, DNSServer

from machinectl_agent.network.dns.server import Server
from machinectl_agent.network.dns.zone import Zone
from machinectl_agent.network.records import EndpointRecord, NetworkRecord, Pool

SMALL, LARGE = 20, 20_000
NETWORKS, REPLICAS = 2, 10
ROUNDS, ASKED, SECONDS, WINDOW = 5, 1000, 2.0, 32
LIMIT_MS, LIMIT_RATIO = 1.0, 1.5


def endpoint(number: int) -> EndpointRecord:
    """In one of the networks, with an alias that ten of them share there."""
    ip = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
    id, alias = f"{number:064x}", (f"service{number // (NETWORKS * REPLICAS)}",)
    return EndpointRecord(id, f"n{number % NETWORKS}", "m1", ip, "", "", f"c{number}", alias, id)


def filled(endpoints: int) -> Zone:
    """A zone with so many of them."""
    zone = Zone()
    zone.set_networks(
        NetworkRecord(f"n{one}", f"net{one}", one, (Pool(f"10.{one}.0.0/16"),)) for one in range(NETWORKS)
    )
    for number in range(endpoints):
        zone.put_endpoint(endpoint(number))
    return zone


class Upstream(BaseResolver):  # type: ignore[misc]
    """Answers at once, as far as dnslib's own server does."""

    def resolve(self, request: DNSRecord, handler: object) -> DNSRecord:
        reply = request.reply()
        reply.add_answer(RR(request.q.qname, rdata=A("192.0.2.1"), ttl=9))
        return reply


def resident() -> float:
    """MB of this process: getrusage's maximum would be the parent's, which outlives exec."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def serve(endpoints: int, pipe: Connection) -> None:
    """Says its port, later the memory that the zone has taken, in MB."""
    before = resident()
    zone = filled(endpoints)
    taken = resident() - before
    upstream = DNSServer(
        Upstream(), address="127.0.0.1", port=0, logger=DNSLogger("-request,-reply,-truncated,-error")
    )
    upstream.start_thread()
    server = Server(zone, lambda: [f"127.0.0.1:{upstream.server.server_address[1]}"], rate=10**9)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    server.add("n1", udp, socket.create_server(("127.0.0.1", 0)))
    server.start()
    pipe.send(udp.getsockname()[1])
    pipe.recv()
    pipe.send(taken)


def latency(port: int, name: str) -> list[float]:
    """Milliseconds of one question after the other."""
    packet = bytes(DNSRecord.question(name).pack())
    times = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(5)
        one.connect(("127.0.0.1", port))
        for _ in range(ASKED):
            began = time.perf_counter()
            one.send(packet)
            one.recv(4096)
            times.append((time.perf_counter() - began) * 1000)
    return times


def throughput(port: int, name: str) -> float:
    """Answers in a second, with a window of questions under way."""
    packet = bytes(DNSRecord.question(name).pack())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one, selectors.DefaultSelector() as ready:
        one.connect(("127.0.0.1", port))
        ready.register(one, selectors.EVENT_READ)
        for _ in range(WINDOW):
            one.send(packet)
        answers, began = 0, time.perf_counter()
        while time.perf_counter() - began < SECONDS:
            if not ready.select(1.0):
                raise RuntimeError("an answer was lost on loopback")
            one.recv(4096)
            answers += 1
            one.send(packet)
        return answers / (time.perf_counter() - began)


def microseconds(zone: Zone, what: str) -> float:
    """Of one operation on the zone itself."""
    count = 5000
    records = [
        EndpointRecord(f"x{n}", "n1", "m2", "10.250.0.1", "", "", f"x{n}", ("service1",))
        for n in range(count)
    ]
    began = time.perf_counter()
    if what == "lookup":
        for _ in range(count):
            zone.answer("n1", "10.0.0.1", "c1", "A")
    else:
        for record in records:
            zone.put_endpoint(record)
            zone.drop_endpoint("n1", record.id)
    return (time.perf_counter() - began) / count * 1e6


def main() -> int:
    """Prints the table."""
    sizes = (SMALL, int(sys.argv[1]) if len(sys.argv) > 1 else LARGE)
    questions = {"own name": "c1", "shared alias": "service0", "forwarded": "host.example.org"}
    zones = {size: filled(size) for size in sizes}
    inner = {
        (what, size): min(microseconds(zones[size], what) for _ in range(ROUNDS))
        for what in ("lookup", "change")
        for size in sizes
    }
    servers = {}
    for size in sizes:
        pipe, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(target=serve, args=(size, theirs), daemon=True)
        process.start()
        servers[size] = (pipe, pipe.recv())
    times: dict[tuple[str, int], list[float]] = {}
    rates: dict[tuple[str, int], list[float]] = {}
    for _ in range(ROUNDS):
        for question, name in questions.items():
            for size, (_, port) in servers.items():
                times.setdefault((question, size), []).extend(latency(port, name))
                rates.setdefault((question, size), []).append(throughput(port, name))
    print(f"{'':24}{'endpoints':>10}{'p50 ms':>9}{'p99 ms':>9}{'1/s':>9}")
    for (question, size), found in times.items():
        parts = statistics.quantiles(found, n=100)
        rate = statistics.median(rates[question, size])
        print(f"{question:24}{size:10}{parts[49]:9.3f}{parts[98]:9.3f}{rate:9.0f}")
    for (what, size), value in inner.items():
        print(f"zone: {what:18}{size:10}{value:9.1f} µs")
    for size, (pipe, _) in servers.items():
        pipe.send("")
        print(f"memory of the zone      {size:10}{pipe.recv():9.1f} MB")
    p50 = statistics.median(times["own name", sizes[1]])
    ratio = inner["lookup", sizes[1]] / inner["lookup", sizes[0]]
    met = p50 <= LIMIT_MS and ratio <= LIMIT_RATIO
    print(
        f"own name, p50: {p50:.3f} ms, target {LIMIT_MS:g}; large to small: {ratio:.2f}, target {LIMIT_RATIO:g}"
    )
    print("met" if met else "MISSED")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
