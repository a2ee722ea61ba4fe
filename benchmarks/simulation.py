"""What an agent costs in a big cluster: its start, its memory and CPU, how long an endpoint takes into the kernel.

    sudo .venv/bin/python benchmarks/simulation.py [--machines 500] [--networks 200] [--endpoints 20000]

A real etcd holds the records of all machines, networks and endpoints. A few agents are real: each is a process
whose data plane has a network namespace of its own, with the watch, the view, the DNS zone and VXLAN (real
netlink), and has local endpoints in some of the networks. The watches of all other machines are held open by one
process that reads and drops what comes, so that etcd has the load of all. Then endpoints come and go all over the
cluster, and each real agent says when a change of a network of its own was in the kernel.

The same with a tenth of the cluster and the same local endpoints: the cost must not grow with what is elsewhere.
Exit status 1 where it does. Times are milliseconds, memory megabytes.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import io
import json
import os
import random
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64encode
from pathlib import Path

from machinectl_agent.daemon.journal import Journal
from machinectl_agent.kv.gateway import Gateway
from machinectl_agent.kv.interface import Put, Snapshot, Trouble
from machinectl_agent.network.dns.server import Server
from machinectl_agent.network.dns.zone import Zone
from machinectl_agent.network.drivers.vxlan import Vxlan
from machinectl_agent.network.fabric import Fabric
from machinectl_agent.network.records import (
    EndpointRecord,
    Layout,
    MachineRecord,
    NetworkRecord,
    Pool,
    encode,
)
from machinectl_agent.network.view import View

CLONE_NEWNET = 0x40000000
"""unshare(2)."""

LAYOUT = Layout()
BATCH = 100
"""Puts in a transaction; etcd's default limit is 128."""


def network_id(number: int) -> str:
    return f"{number:012x}" + "0" * 52


def endpoint_record(number: int, machines: int, networks: int, name: str = "") -> EndpointRecord:
    """Endpoints are spread evenly: the machine by the number, the network by the number's other part."""
    network, host = number % networks, number // networks + 2
    ip = (
        f"10.{100 + network // 256}.{network % 256}.{host % 250 + 2}"
        if host < 250
        else f"10.{200 + network // 256}.{network % 256}.{host - 248}"
    )
    return EndpointRecord(
        id=f"{number:064x}"[::-1],
        network=network_id(network),
        machine=f"m{(number * 7919) % machines}",
        ip=ip,
        ip6="",
        mac="02:42:" + ":".join(f"{int(part):02x}" for part in ip.split(".")),
        name=name or f"c{number}",
    )


def network_record(number: int) -> NetworkRecord:
    subnet = f"10.{100 + number // 256}.{number % 256}.0/24"
    return NetworkRecord(network_id(number), f"net{number}", 5000 + number, (Pool(subnet),), creator="m0")


class Etcd:
    """One member, plain on loopback, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            other.bind(("127.0.0.1", 0))
            port, peer = one.getsockname()[1], other.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.child = subprocess.Popen(
            [
                "etcd", "--data-dir", str(folder),
                "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
                "--listen-peer-urls", f"http://127.0.0.1:{peer}",
                "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
                "--initial-cluster", f"default=http://127.0.0.1:{peer}", "--log-level", "error",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.kv = Gateway([self.url])
        end = time.monotonic() + 20
        while True:
            try:
                self.kv.get("ready")
                return
            except Exception:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def stop(self) -> None:
        self.child.kill()
        self.child.wait()


def fill(kv: Gateway, machines: int, networks: int, endpoints: int) -> None:
    puts = [
        Put(
            LAYOUT.machine(f"m{one}"),
            encode(MachineRecord(f"m{one}", f"node{one}", f"198.18.{one // 250}.{one % 250 + 2}")),
        )
        for one in range(machines)
    ]
    puts += [Put(LAYOUT.alive(f"m{one}"), b"") for one in range(machines)]
    puts += [Put(LAYOUT.network(network_id(one)), encode(network_record(one))) for one in range(networks)]
    for number in range(endpoints):
        record = endpoint_record(number, machines, networks)
        puts.append(Put(LAYOUT.endpoint(record.network, record.id), encode(record)))
    for start in range(0, len(puts), BATCH):
        kv.txn((), puts[start : start + BATCH])


def local_networks(machine: str, machines: int, networks: int, endpoints: int) -> list[str]:
    """The networks that a machine has endpoints in."""
    mine = [endpoint_record(one, machines, networks) for one in range(endpoints)]
    return sorted({one.network for one in mine if one.machine == machine})


def agent(url: str, machine: str, networks: list[str]) -> None:
    """A real agent without dockerd: says when it is ready, then one line for each change that is in the kernel."""
    began = time.monotonic()
    folder = tempfile.mkdtemp(prefix="simulated-netns-")
    view, zone = View(LAYOUT), Zone()
    dataplane = apart(folder)
    dns = Server(zone, lambda: [])
    dns.start()
    fabric = Fabric(machine, view, zone, dns, dataplane, Journal(io.StringIO()))
    fabric.vtep = "198.18.255.1"
    watch = Gateway([url]).watch([LAYOUT.machines, LAYOUT.alives, LAYOUT.networks])
    wanted, ready = set(networks), False
    try:
        for item in watch:
            if isinstance(item, Trouble):
                continue
            moved = view.apply(item)
            if isinstance(item, Snapshot) and item.prefix == LAYOUT.networks:
                for one in networks:
                    fabric.ensure(view.networks()[one])
                    watch.add(LAYOUT.endpoints(one))
            if moved:
                fabric.follow(moved)
            if isinstance(item, Snapshot) and item.prefix.startswith(f"{LAYOUT.prefix}endpoints/"):
                wanted.discard(moved.network if moved else "")
            if not wanted and not ready:
                ready = True
                say({"ready": (time.monotonic() - began) * 1000, **cost()})
            elif ready and moved and moved.after:
                say({"name": moved.after.name, "at": time.monotonic()})
                if moved.after.name == "the-end":
                    say({"end": True, **cost()})
                    return
    finally:
        for short in dataplane.networks():
            dataplane.remove_network(short)
        shutil.rmtree(folder, ignore_errors=True)


def apart(folder: str) -> Vxlan:
    """A data plane whose host is a network namespace of its own; etcd stays in reach of everybody else here."""
    made: list[Vxlan] = []

    def construct() -> None:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        subprocess.run(["ip", "address", "add", "198.18.255.1/32", "dev", "lo"], check=True)
        made.append(Vxlan(folder=folder))

    thread = threading.Thread(target=construct)
    thread.start()
    thread.join()
    return made[0]


def say(message: dict[str, object]) -> None:
    print(json.dumps(message), flush=True)


def cost() -> dict[str, float]:
    """CPU seconds so far and resident megabytes."""
    times = os.times()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {"cpu": times.user + times.system, "rss": pages * os.sysconf("SC_PAGE_SIZE") / 1e6}


def crowd(url: str, count: int, machines: int, networks: int, endpoints: int) -> None:
    """The watches of `count` other machines: raw streams of the JSON gateway; what comes is read and dropped."""
    host, port = url.removeprefix("http://").split(":")
    by_machine: dict[str, set[str]] = {}
    for number in range(endpoints):
        one = endpoint_record(number, machines, networks)
        by_machine.setdefault(one.machine, set()).add(one.network)
    selector = selectors.DefaultSelector()
    for number in range(count):
        prefixes = [LAYOUT.machines, LAYOUT.alives, LAYOUT.networks]
        prefixes += [LAYOUT.endpoints(one) for one in sorted(by_machine.get(f"m{number}", ()))]
        body = "".join(json.dumps({"create_request": watch_of(one)}) for one in prefixes).encode()
        connection = socket.create_connection((host, int(port)))
        head = f"POST /v3/watch HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ)
    say({"ready": count})
    while True:
        for key, _ in selector.select():
            with contextlib.suppress(BlockingIOError):
                if not key.fileobj.recv(65536):  # type: ignore[union-attr]
                    selector.unregister(key.fileobj)


def watch_of(prefix: str) -> dict[str, str]:
    """A create_request of etcd's watch API for everything below a prefix."""
    key = prefix.encode()
    return {"key": b64encode(key).decode(), "range_end": b64encode(key[:-1] + bytes([key[-1] + 1])).decode()}


def usage(pid: int) -> tuple[float, float]:
    """CPU seconds and resident megabytes of another process (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    return (int(fields[11]) + int(fields[12])) / ticks, int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(
    machines: int, networks: int, endpoints: int, *, agents: int, local: int, changes: int, rate: float
) -> dict[str, float]:
    """One cluster of this size. `local`: networks that each real agent is in."""
    with tempfile.TemporaryDirectory(prefix="simulation-") as folder:
        etcd = Etcd(Path(folder) / "etcd")
        children: list[subprocess.Popen[str]] = []
        try:
            began = time.monotonic()
            fill(etcd.kv, machines, networks, endpoints)
            print(
                f"  {machines} machines, {networks} networks, {endpoints} endpoints: "
                f"written in {time.monotonic() - began:.1f} s",
                file=sys.stderr,
            )
            words = [sys.executable, __file__]
            size = [str(machines), str(networks), str(endpoints)]
            others = start([*words, "crowd", etcd.url, str(machines - agents), *size])
            children.append(others)
            line(others)
            chosen = [network_id(one) for one in range(local)]
            real = [
                start([*words, "agent", etcd.url, f"m{machines - 1 - one}", ",".join(chosen)])
                for one in range(agents)
            ]
            children += real
            ready = [line(one) for one in real]
            before = usage(etcd.child.pid)[0]
            began = time.monotonic()
            sent = churn(etcd.kv, machines, networks, endpoints, changes, rate, local)
            took = time.monotonic() - began
            delays: list[float] = []
            ends = []
            for one in real:
                while "end" not in (message := line(one)):
                    if message["name"] in sent:
                        delays.append((message["at"] - sent[message["name"]]) * 1000)
                ends.append(message)
            etcd_cpu, etcd_memory = usage(etcd.child.pid)
        finally:
            for child in children:
                child.kill()
                child.wait()
            etcd.stop()
    delays.sort()
    return {
        "start-up ms": statistics.median(one["ready"] for one in ready),
        "event→kernel p50 ms": delays[len(delays) // 2],
        "event→kernel p99 ms": delays[int(len(delays) * 0.99)],
        "agent CPU %": 100
        * statistics.median(end["cpu"] - one["cpu"] for end, one in zip(ends, ready, strict=True))
        / took,
        "agent RSS MB": statistics.median(one["rss"] for one in ends),
        "etcd CPU %": 100 * (etcd_cpu - before) / took,
        "etcd RSS MB": etcd_memory,
        "changes/s": changes / took,
    }


def churn(
    kv: Gateway, machines: int, networks: int, endpoints: int, changes: int, rate: float, local: int
) -> dict[str, float]:
    """Endpoints all over the cluster get another name and address; → when each was sent, by its name."""
    sent: dict[str, float] = {}
    chooser = random.Random(1)  # noqa: S311 - the same changes in every run
    began = time.monotonic()
    for number in range(changes):
        wait = began + number / rate - time.monotonic()
        if wait > 0:
            time.sleep(wait)  # a steady rate is what is measured
        which = chooser.randrange(endpoints)
        if number % 5 == 0:  # enough of them in the networks that the real agents are in
            which = which // networks * networks + chooser.randrange(local)
        name = f"x{number}"
        # another machine: the kernel's entries change, not only the DNS
        record = endpoint_record(which, machines, networks, name)
        moved = f"m{chooser.randrange(machines // 2)}"
        sent[name] = time.monotonic()
        kv.put(
            LAYOUT.endpoint(record.network, record.id),
            encode(EndpointRecord(**{**record.__dict__, "machine": moved})),
        )
    for one in range(local):
        record = endpoint_record(one, machines, networks, "the-end")
        kv.put(LAYOUT.endpoint(record.network, record.id), encode(record))
    return sent


def start(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path), "MALLOC_ARENA_MAX": "1"},
    )


def line(child: subprocess.Popen[str]) -> dict[str, float]:
    assert child.stdout
    text = child.stdout.readline()
    if not text:
        raise SystemExit(f"a part of the simulation ended: {child.args!r}")
    found: dict[str, float] = json.loads(text)
    return found


def main() -> int:
    if sys.argv[1:2] == ["agent"]:
        agent(sys.argv[2], sys.argv[3], sys.argv[4].split(","))
        return 0
    if sys.argv[1:2] == ["crowd"]:
        crowd(sys.argv[2], *(int(one) for one in sys.argv[3:]))
        return 0
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--machines", type=int, default=500)
    parser.add_argument("--networks", type=int, default=200)
    parser.add_argument("--endpoints", type=int, default=20000)
    parser.add_argument(
        "--local", type=int, default=20, help="networks that each real agent has containers in"
    )
    parser.add_argument("--agents", type=int, default=3)
    parser.add_argument("--changes", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=100.0, help="changes per second in the whole cluster")
    options = parser.parse_args()
    more = {
        "agents": options.agents,
        "local": options.local,
        "changes": options.changes,
        "rate": options.rate,
    }
    # a tenth of the machines and networks, as many endpoints in each network: what an agent has stays the same
    small = measure(
        options.machines // 10, max(options.networks // 10, options.local), options.endpoints // 10, **more
    )
    big = measure(options.machines, options.networks, options.endpoints, **more)
    print(f"{'':24}{'a tenth':>12}{'whole':>12}")
    for name, value in big.items():
        print(f"{name:24}{small[name]:12.1f}{value:12.1f}")
    failed = [
        name
        for name, factor in (
            ("start-up ms", 2.0),
            ("event→kernel p99 ms", 3.0),
            ("agent CPU %", 2.0),
            ("agent RSS MB", 1.2),
        )
        if big[name] > factor * small[name]
    ]
    print(
        f"grows with the whole cluster: {', '.join(failed)}"
        if failed
        else "nothing grows with the whole cluster"
    )
    return 1 if failed or big["agent RSS MB"] > 60 else 0


if __name__ == "__main__":
    sys.exit(main())
