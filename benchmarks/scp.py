"""`machinectl scp` beside scp, scp -3, rsync, tar over ssh and raw TCP: the same files, in turn, in one run.

    sudo .venv/bin/python benchmarks/scp.py [--megabytes 1000] [--files 20000] [--rounds 3] [--only large many]

Boots a lab of its own (two hosts), measures, removes it. Wall-clock seconds, medians; every way starts from files in
the page cache and makes new ones. What scp, rsync and tar leave in the page cache we have on the disk when we end.
`direct ssh`: host to host, logged in from here (`ssh one "cat x | ssh two 'cat > y'"`), which needs a key and a host
key on the first host; `raw TCP`: host to host in the clear, what the link gives. Exit status 1 where a target is
missed.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from machinectl.lab.host import Host
from machinectl.lab.lab import HostWish, Lab
from machinectl.lab.settings import Settings
from machinectl.model import Machine, SshAddress
from machinectl.store.store import Store

OURS = "machinectl scp"
Case = tuple[str, str]
"""What is copied in which direction, and by what."""

TARGETS: tuple[tuple[str, str, float], ...] = (
    # (what, beside, at least so many times as fast)
    ("file, here → machine", "scp", 0.95),
    ("file, machine → here", "scp", 0.95),
    ("file, machine → machine", "scp -3", 1.5),
    ("file, machine → machine", "direct ssh", 0.9),
    ("files, here → machine", "tar | ssh tar", 0.9),
    ("files, machine → here", "tar | ssh tar", 0.9),
    ("files, machine → machine", "tar | ssh tar", 0.9),
)

LISTEN = (
    "import socket;s=socket.create_server(('0.0.0.0',7007));c=s.accept()[0];f=open('{0}','wb');b=bytearray(1<<20)\n"
    "while n:=c.recv_into(b): f.write(memoryview(b)[:n])"
)
SEND = (
    "import socket,time\nfor _ in range(200):\n try: c=socket.create_connection(('{0}',7007)); break\n"
    " except OSError: time.sleep(.01)\nc.sendfile(open('{1}','rb'))"
)


class Bench:
    """Two hosts, an ssh configuration for the other tools, a store for ours. All names are new each time."""

    def __init__(self, folder: Path, hosts: list[Host], megabytes: int, files: int) -> None:
        self.folder = folder
        self.one, self.two = hosts
        self._number = 0
        key = self.one.key
        config = [
            f"Host {host.name}\n  HostName {host.ip}\n  User root\n  IdentityFile {key}\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {folder}/known_hosts\n  StrictHostKeyChecking accept-new\n  LogLevel ERROR\n"
            for host in hosts
        ]
        (folder / "config").write_text("".join(config))
        store = Store(folder / "store")
        for host in hosts:
            with store.machine_lock(host.name):
                store.save(Machine(host.name, host.ip, SshAddress(host.ip, user="root", key=str(key))))
            rsync = "apt-get -qq update && apt-get -qq install rsync >/dev/null 2>&1"
            subprocess.run([*self.ssh(host), f"mkdir -p /bench && {rsync}"], check=True)
        # what direct ssh needs: a key there and the other's host key
        public = Path(f"{key}.pub").read_text() if Path(f"{key}.pub").exists() else ""
        self.one.run(
            "mkdir -p -m 700 /root/.ssh && cat > /root/.ssh/id && chmod 600 /root/.ssh/id",
            stdin=key.read_text(),
        )
        self.two.run("cat >> /root/.ssh/authorized_keys", stdin=public)
        self._make(megabytes, files)

    def _make(self, megabytes: int, files: int) -> None:
        large = self.folder / "large"
        block = os.urandom(1_000_000)
        with large.open("wb") as file:
            for number in range(megabytes):
                file.write(number.to_bytes(8, "big") + block[8:])
        many = self.folder / "many"
        for number in range(files):
            path = many / f"d{number // 200:03}/f{number:05}"
            if number % 200 == 0:
                path.parent.mkdir(parents=True)
            path.write_bytes(block[number : number + 4096])
        subprocess.run([*self.scp(), "-q", large, f"{self.one.name}:/bench/large"], check=True)
        unpack = shlex.quote("mkdir /bench/many && tar -C /bench/many -xf -")
        tar = f"tar -C {many} -cf - . | {shlex.join(self.ssh(self.one))} {unpack}"
        subprocess.run(["sh", "-c", tar], check=True)
        subprocess.run(["sync"], check=True)

    def ssh(self, host: Host) -> list[str]:
        return ["ssh", "-F", f"{self.folder}/config", host.name]

    def scp(self, program: str = "scp") -> list[str]:
        return [program, "-F", f"{self.folder}/config"]

    def ours(self, *words: object) -> list[str]:
        return [
            sys.executable,
            "-m",
            "machinectl",
            "-s",
            f"{self.folder}/store",
            "scp",
            "-q",
            *map(str, words),
        ]

    def new(self, place: str) -> str:
        self._number += 1
        return f"{place}/new{self._number}"

    def ways(self) -> dict[Case, Callable[[], list[str]]]:
        """Each gives the command of one run."""
        one, two, here = self.one.name, self.two.name, str(self.folder)
        rsync = ["rsync", "-a", "-e", f"ssh -F {self.folder}/config"]
        up, down, across = "here → machine", "machine → here", "machine → machine"
        inner = f"ssh -i /root/.ssh/id -o StrictHostKeyChecking=no -o LogLevel=ERROR root@{self.two.ip}"

        def shell(text: str) -> list[str]:
            return ["sh", "-c", text]

        ssh_one, ssh_two = shlex.join(self.ssh(self.one)), shlex.join(self.ssh(self.two))

        def tar(source: str, target: str, read: str, write: str) -> Callable[[], list[str]]:
            def command() -> list[str]:
                place = self.new(target)
                unpack = f"mkdir {place} && tar -C {place} -xf -"
                pack = f"tar -C {source} -cf - ."
                first = f"{read} {shlex.quote(pack)}" if read else pack
                second = f"{write} {shlex.quote(unpack)}" if write else f"({unpack})"
                return shell(f"{first} | {second}")

            return command

        def direct(text: str) -> Callable[[], list[str]]:
            return lambda: [*self.ssh(self.one), text.format(inner=inner, new=self.new("/bench"))]

        def raw() -> list[str]:
            listen = shlex.quote(LISTEN.format(self.new("/bench")))
            send = shlex.quote(SEND.format(self.two.ip, "/bench/large"))
            there, here = (shlex.quote(f"python3 -c {one}") for one in (listen, send))
            return shell(f"{ssh_two} {there} & {ssh_one} {here} && wait")

        return {
            (f"file, {up}", OURS): lambda: self.ours(f"{here}/large", f"{one}:{self.new('/bench')}"),
            (f"file, {up}", "scp"): lambda: [*self.scp(), "-q", f"{here}/large", f"{one}:{self.new('/bench')}"],
            (f"file, {up}", "rsync -a"): lambda: [*rsync, f"{here}/large", f"{one}:{self.new('/bench')}"],
            (f"file, {down}", OURS): lambda: self.ours(f"{one}:/bench/large", self.new(here)),
            (f"file, {down}", "scp"): lambda: [*self.scp(), "-q", f"{one}:/bench/large", self.new(here)],
            (f"file, {down}", "rsync -a"): lambda: [*rsync, f"{one}:/bench/large", self.new(here)],
            (f"file, {across}", OURS): lambda: self.ours(f"{one}:/bench/large", f"{two}:{self.new('/bench')}"),
            (f"file, {across}", "scp -3"): lambda: [
                *self.scp(), "-q", "-3", f"{one}:/bench/large", f"{two}:{self.new('/bench')}",
            ],
            (f"file, {across}", "direct ssh"): direct("cat /bench/large | {inner} 'cat > {new}'"),
            (f"file, {across}", "raw TCP"): raw,
            (f"files, {up}", OURS): lambda: self.ours("-r", f"{here}/many", f"{one}:{self.new('/bench')}"),
            (f"files, {up}", "tar | ssh tar"): tar(f"{here}/many", "/bench", "", ssh_one),
            (f"files, {up}", "rsync -a"): lambda: [*rsync, f"{here}/many/", f"{one}:{self.new('/bench')}"],
            (f"files, {down}", OURS): lambda: self.ours("-r", f"{one}:/bench/many", self.new(here)),
            (f"files, {down}", "tar | ssh tar"): tar("/bench/many", here, ssh_one, ""),
            (f"files, {down}", "rsync -a"): lambda: [*rsync, f"{one}:/bench/many/", self.new(here)],
            (f"files, {across}", OURS): lambda: self.ours("-r", f"{one}:/bench/many", f"{two}:{self.new('/bench')}"),
            (f"files, {across}", "tar | ssh tar"): direct(
                "tar -C /bench/many -cf - . | {inner} 'mkdir {new} && tar -C {new} -xf -'"
            ),
        }  # fmt: skip

    def clear(self) -> None:
        """Large files go after each copy. Many files stay to the end: ext4 looks long for room where inodes were
        freed just before."""
        for path in self.folder.glob("new*"):
            if path.is_file():
                path.unlink()
        for host in (self.one, self.two):
            host.run("find /bench -maxdepth 1 -name 'new*' -type f -delete")
        subprocess.run(["sync"], check=True)


def measure(bench: Bench, wanted: list[str], rounds: int) -> dict[Case, list[float]]:
    found: dict[Case, list[float]] = {}
    for number in range(rounds + 1):
        for case, command in bench.ways().items():
            if not any(case[0].startswith(f"{ {'large': 'file', 'many': 'files'}[one] },") for one in wanted):
                continue
            words = command()
            if shutil.which(words[0]) is None:
                continue
            began = time.monotonic()
            done = subprocess.run(
                words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
            took = time.monotonic() - began
            if done.returncode:
                raise SystemExit(f"{case}: {shlex.join(words)}\n{done.stdout}{done.stderr}")
            if number:  # the first round warms up: the agent's bundle, its .pyc files
                found.setdefault(case, []).append(took)
            if case[0].startswith("file,"):
                bench.clear()
        print(f"round {number} of {rounds}", file=sys.stderr)
    return found


def report(found: dict[Case, list[float]]) -> list[str]:
    """Prints the table; says which targets are missed."""
    medians = {case: statistics.median(seconds) for case, seconds in found.items()}
    for (what, tool), seconds in medians.items():
        ours = medians[what, OURS]
        times = "" if tool == OURS else f"{seconds / ours:8.2f} × our time"
        print(f"{what:28}{tool:18}{seconds:8.2f} s{times}")
    missed = []
    for what, tool, factor in TARGETS:
        if (what, tool) in medians and medians[what, tool] / medians[what, OURS] < factor:
            missed.append(f"{what}: {factor:g} times as fast as {tool}")
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=("large", "many"), default=["large", "many"])
    args = parser.parse_args()
    settings = Settings(Path("/var/lib/machinectl-lab-bench-copy"), bridge="mccopy0", subnet="198.18.82.0/24")
    lab = Lab(settings)
    lab.down()
    folder = Path(tempfile.mkdtemp(prefix="machinectl-bench-"))
    try:
        hosts = lab.up([HostWish("one", "bookworm"), HostWish("two", "trixie")])
        found = measure(Bench(folder, list(hosts), args.megabytes, args.files), args.only, args.rounds)
        missed = report(found)
    finally:
        lab.down()
        shutil.rmtree(folder)
    for one in missed:
        print(f"missed: {one}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
