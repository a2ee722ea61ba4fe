"""Our networks beside Docker's own etcd overlay (classic mode) and the bare hosts, all on the same two lab hosts.

    sudo .venv/bin/python benchmarks/overlay.py [--rounds 5] [--seconds 3]

Boots a lab of its own (bookworm: the newest engine that still has Docker's overlay), puts both kinds of network on
it, and measures in turn, so that a machine whose speed drifts drifts for all of it. Medians. Exit status 1 where a
target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from machinectl.lab.host import Host
from machinectl.lab.lab import HostWish, Lab
from machinectl.lab.settings import Settings

OURS, THEIRS, HOSTS = "machinectl", "Docker's overlay", "host to host"
NETWORKS = {OURS: "ours", THEIRS: "theirs"}

IMAGE = r"""
set -eu
export DEBIAN_FRONTEND=noninteractive
if ! command -v iperf3 >/dev/null; then
  apt-get update -q >/dev/null
  apt-get install -q -y --no-install-recommends iperf3 >/dev/null 2>&1
fi
root=/root/bench-image; rm -rf $root; mkdir -p $root/bin $root/tmp
cp -L /usr/bin/iperf3 /bin/busybox $root/bin/
for one in $(ldd /usr/bin/iperf3 | grep -o '/[^ ]*' | sort -u); do
  mkdir -p $root$(dirname $one)
  cp -L $one $root$one
done
for applet in sh true sleep ping; do ln -s busybox $root/bin/$applet; done
tar -C $root -c . | docker import - bench:latest >/dev/null
"""

RESOLVES = r"""
import socket, struct, sys, time
name = sys.argv[1].encode()
question = struct.pack("!6H", 1, 0x100, 1, 0, 0, 0) + bytes([len(name)]) + name + b"\0" + struct.pack("!2H", 1, 1)
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.settimeout(0.01)  # a name that is not ours yet is forwarded: nobody waits for that answer here
end = time.time() + 20
while time.time() < end:
    one.sendto(question, ("169.254.77.53", 53))
    try:
        if struct.unpack("!H", one.recv(512)[6:8])[0]:
            break
    except socket.timeout:
        pass
    time.sleep(0.002)
print(time.time())
"""

APPEARS = r"""
import http.client, socket, sys, time
class Docker(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/run/docker.sock")
docker = Docker("docker")
end = time.time() + 20
while time.time() < end:
    docker.request("GET", "/networks/" + sys.argv[1])
    answer = docker.getresponse()
    answer.read()
    if answer.status == 200:
        break
    time.sleep(0.005)
print(time.time())
"""

TIMED = r"""
import subprocess, sys, time
began = time.time()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(began, time.time())
"""


class Pair:
    """Two hosts, and what is run on them."""

    def __init__(self, one: Host, other: Host) -> None:
        self.one = one
        self.other = other

    def address(self, kind: str) -> str:
        """Where `server` is reached."""
        if kind == HOSTS:
            return self.other.ip
        found = self.other.run(f"docker inspect server-{NETWORKS[kind]}").stdout
        return str(json.loads(found)[0]["NetworkSettings"]["Networks"][NETWORKS[kind]]["IPAddress"])

    def client(self, kind: str, command: str) -> str:
        words = command if kind == HOSTS else f"docker exec client-{NETWORKS[kind]} {command}"
        return self.one.run(words, deadline=60).stdout

    def throughput(self, kind: str, seconds: int) -> float:
        """Gbit/s."""
        text = self.client(kind, f"iperf3 -J -t {seconds} -c {self.address(kind)}")
        return float(json.loads(text)["end"]["sum_received"]["bits_per_second"]) / 1e9

    def latency(self, kind: str) -> float:
        """Milliseconds there and back, the mean of 50."""
        text = self.client(kind, f"ping -c 50 -i 0.02 {self.address(kind)}")
        return float(text.rpartition("=")[2].split("/")[1])

    def run(self, network: str) -> float:
        """Milliseconds of `docker run --rm`."""
        began, ended = python(self.one, TIMED, "docker", "run", "--rm", "--network", network, "bench", "true")
        return (ended - began) * 1000

    def first_packet(self, kind: str) -> float:
        """Milliseconds of the first packet to a container that has just been started on the other host."""
        network = NETWORKS[kind]
        self.other.run(f"docker run -d --name fresh --network {network} bench sleep 60")
        found = self.other.run("docker inspect fresh").stdout
        address = json.loads(found)[0]["NetworkSettings"]["Networks"][network]["IPAddress"]
        try:
            text = self.client(kind, f"ping -c 1 -W 3 {address}")
            return float(text.rpartition("=")[2].split("/")[0])
        finally:
            self.other.run("docker rm -f fresh")

    def name(self) -> float:
        """Milliseconds from the beginning of `docker run` until the name resolves on the other host."""
        space = self.one.run("ip netns list | grep -o 'mctl-[0-9a-f]*' | head -1").stdout.strip()
        found: list[float] = []
        words = f"ip netns exec {space} python3 - named"
        waiting = threading.Thread(
            target=lambda: found.extend(numbers(self.one.run(words, stdin=RESOLVES).stdout))
        )
        waiting.start()
        began, _ = python(
            self.other,
            TIMED,
            "docker",
            "run",
            "-d",
            "--name",
            "named",
            "--network",
            "ours",
            "bench",
            "sleep",
            "60",
        )
        waiting.join()
        self.other.run("docker rm -f named")
        return (found[0] - began) * 1000

    def replication(self) -> float:
        """Milliseconds from the beginning of `docker network create` until the other dockerd has it."""
        found: list[float] = []
        waiting = threading.Thread(
            target=lambda: found.extend(
                numbers(self.other.run("python3 - fresh-network", stdin=APPEARS).stdout)
            )
        )
        waiting.start()
        words = (
            "docker",
            "network",
            "create",
            "-d",
            "machinectl",
            "--ipam-driver",
            "machinectl",
            "fresh-network",
        )
        began, _ = python(self.one, TIMED, *words)
        waiting.join()
        self.one.run("docker network rm fresh-network")
        return (found[0] - began) * 1000


def python(host: Host, script: str, *words: str) -> list[float]:
    """The numbers that a script prints on a host."""
    return numbers(host.run(f"python3 - {' '.join(words)}", stdin=script).stdout)


def numbers(text: str) -> list[float]:
    return [float(one) for one in text.split()]


def prepare(pair: Pair, folder: Path) -> None:
    """Machines, an etcd with both APIs, both kinds of network, a server and a client in each."""
    env = {**os.environ, "MACHINECTL_STORAGE_PATH": str(folder / "store"), "HOME": str(folder)}

    def machinectl(*words: str) -> None:
        argv = [sys.executable, "-m", "machinectl", "-q", *words]
        subprocess.run(argv, env=env, check=True, stdout=subprocess.DEVNULL, timeout=600)

    for host in (pair.one, pair.other):
        machinectl("create", "--ip", host.ip, "--ssh-key", str(host.key), host.name)
        host.run("bash -s", stdin=IMAGE, deadline=300)
    names = (pair.one.name, pair.other.name)
    machinectl("etcd", "deploy", "--v2", names[0])
    machinectl("network", "join", *names)
    machinectl("network", "join", "--driver", "overlay", *names)
    machinectl("network", "create", NETWORKS[OURS])
    machinectl("network", "create", "--driver", "overlay", NETWORKS[THEIRS])
    for network in NETWORKS.values():
        python(pair.other, APPEARS, network)
        pair.other.run(f"docker run -d --name server-{network} --network {network} bench iperf3 -s")
        pair.one.run(f"docker run -d --name client-{network} --network {network} bench sleep 36000")
    pair.other.run("iperf3 -s -D")


def measure(pair: Pair, rounds: int, seconds: int) -> dict[str, dict[str, float]]:
    """Row → column → median."""
    every = (OURS, THEIRS, HOSTS)
    rows: dict[str, dict[str, list[float]]] = {}

    def note(row: str, column: str, work: Callable[[], float]) -> None:
        rows.setdefault(row, {}).setdefault(column, []).append(work())

    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        for kind in every:
            note("throughput, Gbit/s", kind, lambda kind=kind: pair.throughput(kind, seconds))  # type: ignore[misc]
            note("there and back, ms", kind, lambda kind=kind: pair.latency(kind))  # type: ignore[misc]
        for kind, network in NETWORKS.items():
            note("docker run, ms", kind, lambda network=network: pair.run(network))  # type: ignore[misc]
            note("first packet, ms", kind, lambda kind=kind: pair.first_packet(kind))  # type: ignore[misc]
        note("name usable elsewhere, ms", OURS, pair.name)
        note("network on the other machine, ms", OURS, pair.replication)
    return {
        row: {name: statistics.median(found) for name, found in columns.items()}
        for row, columns in rows.items()
    }


def missed(found: dict[str, dict[str, float]]) -> list[str]:
    """The targets that are not met."""
    fast, near = found["throughput, Gbit/s"], found["there and back, ms"]
    checks = {
        "throughput at least that of Docker's overlay": fast[OURS] >= fast[THEIRS],
        "latency at most 1.1 of Docker's overlay": near[OURS] <= 1.1 * near[THEIRS],
        "docker run not slower than on Docker's overlay": found["docker run, ms"][OURS]
        <= found["docker run, ms"][THEIRS],
        "first packet under 5 ms": found["first packet, ms"][OURS] < 5,
        "name usable within 150 ms": found["name usable elsewhere, ms"][OURS] <= 150,
        "network replicated within 300 ms": found["network on the other machine, ms"][OURS] < 300,
    }
    return [name for name, met in checks.items() if not met]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement of throughput")
    options = parser.parse_args()
    settings = Settings(Path("/var/lib/machinectl-lab-overlay"), bridge="mcover0", subnet="198.18.80.0/24")
    lab = Lab(settings, lambda text: print(text, file=sys.stderr))
    lab.down()
    try:
        pair = Pair(*lab.up([HostWish("o1", "bookworm"), HostWish("o2", "bookworm")]))
        with tempfile.TemporaryDirectory(prefix="overlay-") as folder:
            prepare(pair, Path(folder))
            found = measure(pair, options.rounds, options.seconds)
    finally:
        lab.down()
    columns = (OURS, THEIRS, HOSTS)
    print(f"{'':34}" + "".join(f"{name:>18}" for name in columns))
    for row, values in found.items():
        print(
            f"{row:34}"
            + "".join(f"{values[name]:18.2f}" if name in values else f"{'-':>18}" for name in columns)
        )
    not_met = missed(found)
    print("\n".join(f"missed: {one}" for one in not_met) or "all targets are met")
    return 1 if not_met else 0


if __name__ == "__main__":
    sys.exit(main())
