"""Hosts and containers of the data plane's tests: network namespaces in a folder of this run only.

Nothing of them is in the machine's own namespace, so no name can meet a lab's or another run's. What a killed run left is
removed by the next.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import select
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from machinectl_agent.network.drivers.interface import Peer, Wiring
from machinectl_agent.network.drivers.vxlan import Vxlan
from machinectl_agent.network.netlink import namespaces
from tests.waiting import until

Result = TypeVar("Result")

ROOT = Path("/run/machinectl-tests-dataplane")
DEADLINE = 60.0
"""Seconds for what takes milliseconds here."""
AGAIN = 0.5
"""Seconds after which an echo request that has not been answered is sent again."""

_libc = ctypes.CDLL(None, use_errno=True)


def network_id(number: int) -> str:
    return f"{number:012x}" + "0" * 52


def mac_of(ip: str) -> str:
    return "02:42:" + ":".join(f"{int(part):02x}" for part in ip.split("."))


class Container:
    """A namespace with one end of a port, as dockerd would have made it."""

    def __init__(self, host: Host, name: str, network: str, ip: str, ip6: str = "") -> None:
        self.host, self.network, self.ip, self.ip6 = host, network, ip, ip6
        self.endpoint = name.encode().hex().ljust(12, "0")[:12] + "e" * 52
        self.path = host.bench.make_namespace(name)
        self.mac = mac_of(ip)
        link = host.plane.attach(network, self.endpoint, self.mac)
        run("ip", "link", "set", link, "netns", self.path, inside=host.path)
        run("ip", "link", "set", link, "name", "eth0", inside=self.path)
        run("ip", "addr", "add", f"{ip}/16", "dev", "eth0", "broadcast", "+", inside=self.path)
        if ip6:
            run("ip", "addr", "add", f"{ip6}/64", "dev", "eth0", "nodad", inside=self.path)
        run("ip", "link", "set", "lo", "up", inside=self.path)
        run("ip", "link", "set", "eth0", "up", inside=self.path)

    def peer(self) -> Peer:
        """As the other hosts are told of it."""
        return Peer(self.mac, tuple(one for one in (self.ip, self.ip6) if one), self.host.vtep)

    def run(self, work: Callable[[], Result]) -> Result:
        return namespaces.inside(self.path, work)

    def ping(self, to: str, size: int = 56, *, deadline: float = DEADLINE) -> float | None:
        """Seconds till the answer to one echo request that must not be fragmented; None without one. Raises
        OSError EMSGSIZE where the interface itself is too small."""
        return self.run(lambda: _ping(to, size, deadline))

    def end(self) -> None:
        self.host.plane.detach(self.network, self.endpoint)
        self.host.bench.remove_namespace(self.path)


class Host:
    """A namespace that stands for a machine, with a data plane of its own."""

    def __init__(self, bench: Bench, name: str, port: int) -> None:
        self.bench, self.name = bench, name
        self.vtep = ""
        self.path = bench.make_namespace(f"host-{name}")
        self.folder = str(bench.folder / f"netns-{name}")
        self.port = port
        self.plane = self.new_plane()

    def new_plane(self) -> Vxlan:
        """As after a restart of the agent."""
        return namespaces.inside(self.path, lambda: Vxlan(self.port, self.folder))

    def wiring(self, network: str, *, vni: int = 7001, mtu: int = 1450) -> Wiring:
        return Wiring(network, vni, mtu, ("10.50.0.0/16", "fd00:50::/64"), self.vtep)

    def inside(self, network: str) -> str:
        """Path of the network's namespace."""
        return f"{self.folder}/mctl-{network[:12]}"

    def links(self) -> set[str]:
        words = run("ip", "-o", "link", inside=self.path)
        return {line.split(": ")[1].partition("@")[0] for line in words.splitlines()}


class Bench:
    """All namespaces of one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True)
        self.hosts: list[Host] = []

    def make_namespace(self, name: str) -> str:
        namespaces.ensure(str(self.folder / "made"), name)
        path = str(self.folder / "made" / name)
        run("ip", "link", "set", "lo", "up", inside=path)
        return path

    def remove_namespace(self, path: str) -> None:
        namespaces.remove(str(Path(path).parent), Path(path).name)

    def pair(self, *, mtu: int = 1500, ipv6: bool = False, port: int = 4789) -> tuple[Host, Host]:
        """Two hosts with one cable between them, and a VTEP address each."""
        one, two = Host(self, "a", port), Host(self, "b", port)
        self.hosts += [one, two]
        run(
            "ip",
            "link",
            "add",
            "u0",
            "type",
            "veth",
            "peer",
            "name",
            "u0",
            "netns",
            two.path,
            inside=one.path,
        )
        for number, host in enumerate((one, two), 1):
            run("ip", "link", "set", "u0", "mtu", str(mtu), "up", inside=host.path)
            host.vtep = f"fd99::{number}" if ipv6 else f"198.51.100.{number}"
            add_address(host, host.vtep)
        return one, two

    def close(self) -> None:
        for host in self.hosts:
            host.plane.close()
        remove_folder(self.folder)


def add_address(host: Host, address: str) -> None:
    more = ["nodad"] if ":" in address else []
    length = 64 if ":" in address else 24
    run("ip", "addr", "add", f"{address}/{length}", "dev", "u0", *more, inside=host.path)


def tell(*containers: Container) -> None:
    """Every host learns of all containers that are not its own."""
    for host in {one.host for one in containers}:
        peers = {one.endpoint: one.peer() for one in containers if one.host is not host}
        host.plane.set_peers(containers[0].network, peers)


def peers(count: int, vteps: int = 20) -> Mapping[str, Peer]:
    """Endpoints far away, dual stack."""
    return {
        f"{number:064x}": Peer(
            f"02:42:0a:33:{number >> 8:02x}:{number & 255:02x}",
            (f"10.51.{number >> 8}.{number & 255}", f"fd00:51::{number + 1:x}"),
            f"198.51.100.{number % vteps + 100}",
        )
        for number in range(count)
    }


def run(*words: str, inside: str = "") -> str:
    enter = ["nsenter", f"--net={inside}"] if inside else []
    done = subprocess.run([*enter, *words], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


@contextlib.contextmanager
def bench(name: str) -> Iterator[Bench]:
    """Removed whatever happens; also what runs left that are no more."""
    sweep()
    made = Bench(ROOT / str(os.getpid()) / name)
    try:
        yield made
    finally:
        made.close()
        with contextlib.suppress(OSError):
            (ROOT / str(os.getpid())).rmdir()
            ROOT.rmdir()


def sweep() -> None:
    for one in ROOT.glob("*"):
        if one.name.isdigit() and not Path(f"/proc/{one.name}").exists():
            remove_folder(one)


def remove_folder(folder: Path) -> None:
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for one in reversed(mounts):
        if one.startswith(f"{folder}/"):
            _libc.umount2(one.encode(), 2)
    shutil.rmtree(folder, ignore_errors=True)


def at_work(*containers: Container) -> None:
    """The kernel may take a second to put a new link to work (linkwatch), and drops what comes before."""

    def works(one: Container) -> bool:
        port = run(
            "bridge", "link", "show", "dev", f"p{one.endpoint[:12]}", inside=one.host.inside(one.network)
        )
        return (
            "state forwarding" in port
            and " UP " in run("ip", "-br", "link", "show", "eth0", inside=one.path)
            and " UP " in run("ip", "-br", "link", "show", "u0", inside=one.host.path)
        )

    for one in containers:
        until(functools.partial(works, one), pause=0.01)


def transfer(sender: Container, receiver: Container, to: str, size: int) -> bytes:
    """`size` bytes over TCP; what arrived."""
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    with (
        receiver.run(lambda: socket.create_server((to, 5000), family=family)) as server,
        sender.run(lambda: socket.create_connection((to, 5000), DEADLINE)) as one,
    ):
        server.settimeout(DEADLINE)
        other, _ = server.accept()
        with other:
            pattern = bytes(range(251)) * (size // 251 + 1)
            one.setblocking(False)
            other.setblocking(False)
            sent, got, end = 0, bytearray(), time.monotonic() + DEADLINE
            while len(got) < size:
                assert time.monotonic() < end, f"{len(got)} of {size} bytes arrived"
                ready, free, _ = select.select([other], [one] if sent < size else [], [], 1)
                if free:
                    sent += one.send(pattern[sent : min(size, sent + 65536)])
                if ready:
                    got += other.recv(65536)
            assert bytes(got) == pattern[:size]
            return bytes(got)


def _ping(to: str, size: int, deadline: float) -> float | None:
    ipv6 = ":" in to
    family, protocol = (
        (socket.AF_INET6, socket.IPPROTO_ICMPV6) if ipv6 else (socket.AF_INET, socket.IPPROTO_ICMP)
    )
    with socket.socket(family, socket.SOCK_RAW, protocol) as one:
        if ipv6:
            one.setsockopt(socket.IPPROTO_IPV6, 62, 1)  # IPV6_DONTFRAG
            one.setsockopt(socket.IPPROTO_IPV6, 23, 2)  # IPV6_MTU_DISCOVER, DO
        else:
            one.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, DO
        nonce = os.urandom(4)
        payload = nonce + bytes(size - 4)
        # ICMPv6's checksum is the kernel's work
        checksum = 0 if ipv6 else _checksum(struct.pack("!BBHHH", 8, 0, 0, 1, 1) + payload)
        start = time.monotonic()
        while (left := start + deadline - time.monotonic()) > 0:
            # the kernel may take a second to put a new link to work (linkwatch), and drops what comes before
            one.sendto(struct.pack("!BBHHH", 128 if ipv6 else 8, 0, checksum, 1, 1) + payload, (to, 0))
            if not select.select([one], [], [], min(left, AGAIN))[0]:
                continue
            answer = one.recv(65536)
            answer = answer if ipv6 else answer[(answer[0] & 15) * 4 :]
            if answer[0] == (129 if ipv6 else 0) and answer[8:12] == nonce:
                return time.monotonic() - start
    return None


def _checksum(packet: bytes) -> int:
    """Of RFC 1071; an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
