"""How long `machinectl volume migrate` takes beside GNU tar over ssh from host to host.

    sudo .venv/bin/python benchmarks/volume.py [--runs 5] [--size 1000] [--files 20000]

Boots a lab of two hosts, measures, removes it. Wall-clock seconds, medians. What is compared runs in turn, so that a
machine whose speed drifts drifts for both. The migrate is all of the command: Python's start, two SSH connections,
TLS between the agents, SHA-256 on both sides, everything on the disk, the source removed. The other one is

    tar -C VOLUME -c … . | ssh HOST2 tar -C VOLUME -x … && docker volume rm VOLUME

started on the first host, with the flags that keep what a migrate keeps, and nothing else: no checksum, no sync. The
volume goes there by tar and comes back by a migrate. Exit status 1 where the migrate is slower.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machinectl.lab.host import Host
from machinectl.lab.lab import HostWish, Lab
from machinectl.lab.settings import Settings

ROOT = "/var/lib/docker/volumes"
FLAGS = "--numeric-owner --xattrs --xattrs-include='*' --acls"
KEY = "/root/.ssh/other-host"
MIGRATE, TAR = "machinectl volume migrate", "tar | ssh tar, host to host"

MAKE_LARGE = (
    "docker volume create large >/dev/null; head -c {size}M /dev/urandom > {root}/large/_data/file; sync"
)
MAKE_MANY = """docker volume create many >/dev/null; cd {root}/many/_data; python3 -c '
import os
for number in range({files}):
    folder = f"folder{{number % 100}}"
    os.makedirs(folder, exist_ok=True)
    with open(f"{{folder}}/file{{number}}", "wb") as file:
        file.write(os.urandom(4096))
'; sync"""


class Bench:
    """Two machines, and volumes that go to and fro between them."""

    def __init__(self, hosts: list[Host], folder: Path) -> None:
        self.hosts = hosts
        self._env = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "MACHINECTL_STORAGE_PATH": str(folder / "store"),
        }

    def machinectl(self, *words: str) -> None:
        argv = [sys.executable, "-m", "machinectl", "-q", *words]
        done = subprocess.run(argv, env=self._env, capture_output=True, text=True, check=False, timeout=900)
        if done.returncode:
            raise SystemExit(f"{words}: {done.stdout}{done.stderr}")

    def prepare(self, size: int, files: int) -> None:
        for host in self.hosts:
            self.machinectl("create", "--ip", host.ip, "--ssh-key", str(host.key), host.name)
        one, two = self.hosts
        one.run(f"umask 077; cat > {KEY}", stdin=one.key.read_text())
        one.run(f"ssh-keyscan {two.ip} > /root/.ssh/known_hosts 2>/dev/null")
        one.run(MAKE_LARGE.format(size=size, root=ROOT), deadline=300)
        one.run(MAKE_MANY.format(files=files, root=ROOT), deadline=300)

    def migrate(self, volume: str) -> float:
        one, two = self.hosts
        began = time.monotonic()
        self.machinectl("volume", "migrate", f"{two.name}:{volume}", one.name)
        return time.monotonic() - began

    def tar(self, volume: str) -> float:
        one, two = self.hosts
        two.run(f"docker volume create {volume}")
        folder = f"{ROOT}/{volume}/_data"
        take = f"tar -C {folder} -x -p {FLAGS}"
        send = f'tar -C {folder} -c --sparse {FLAGS} . | ssh -i {KEY} {two.ip} "{take}"'
        began = time.monotonic()
        one.run(f"{send} && docker volume rm {volume}", deadline=600)
        return time.monotonic() - began


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--size", type=int, default=1000, help="MB of the large file")
    parser.add_argument("--files", type=int, default=20000, help="of 4 KiB each")
    args = parser.parse_args()
    settings = Settings(Path("/var/lib/machinectl-lab-bench"), bridge="mcbench0", subnet="198.18.250.0/24")
    lab = Lab(settings, print)
    slower = False
    try:
        hosts = lab.up([HostWish("bench1", "bookworm"), HostWish("bench2", "bookworm")])
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(hosts, Path(folder))
            bench.prepare(args.size, args.files)
            for volume, what in (
                ("large", f"one file of {args.size} MB"),
                ("many", f"{args.files} small files"),
            ):
                slower |= compare(bench, volume, what, args.runs)
    finally:
        lab.down()
    return int(slower)


def compare(bench: Bench, volume: str, what: str, runs: int) -> bool:
    """Whether the migrate was slower."""
    times: dict[str, list[float]] = {MIGRATE: [], TAR: []}
    bench.tar(volume)
    bench.migrate(volume)  # the agents get there, the caches are warm
    for _ in range(runs):
        times[TAR].append(bench.tar(volume))
        times[MIGRATE].append(bench.migrate(volume))
    print(f"\n{what}, {runs} runs in turn")
    for name, seconds in times.items():
        low, high = min(seconds), max(seconds)
        print(f"  {name:32} median {statistics.median(seconds):6.2f} s   ({low:.2f} to {high:.2f})")
    ratio = statistics.median(times[TAR]) / statistics.median(times[MIGRATE])
    print(f"  migrate is {ratio:.2f} times as fast", flush=True)
    return ratio < 1


if __name__ == "__main__":
    sys.exit(main())
