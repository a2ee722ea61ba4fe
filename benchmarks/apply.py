"""`machinectl apply` beside Ansible and pyinfra: the same role on the same lab hosts, in turn.

    sudo .venv/bin/python benchmarks/apply.py [--hosts 1 5 20] [--rounds 3] [--tools machinectl Ansible pyinfra]

Boots a lab of its own, measures, removes it. Seconds of wall-clock time, medians; memory is the sum of the
proportional set sizes of a tool's processes at their highest, in MB. Ansible runs with one fork per host,
pipelining and connections that are kept, pyinfra as it comes; peers/ has their roles. First apply: bare hosts,
the packages' download is part of it. The peers get a venv of their own in build/. Exit status 1 where a target is
missed.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from machinectl.lab.host import Host
from machinectl.lab.lab import HostWish, Lab
from machinectl.lab.settings import Settings
from machinectl.pki.authority import ensure_authority
from machinectl.pki.leaves import ensure_server

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / "benchmarks/peers"
VENV = ROOT / "build/peers"
OURS, ANSIBLE, PYINFRA = "machinectl", "Ansible", "pyinfra"
FIRST, NOTHING, LINE = "first apply", "nothing to do", "one line changed"
TOOLS = (OURS, ANSIBLE, PYINFRA)
KINDS = (FIRST, NOTHING, LINE)


@dataclass
class Sample:
    """One tool's runs of one kind on one number of hosts."""

    seconds: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)


class Memory(threading.Thread):
    """Watches a session's processes until it is told to end."""

    def __init__(self, session: int) -> None:
        super().__init__(daemon=True)
        self.most = 0.0
        self._session = session
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.1):
            members = _members(self._session)
            own = (pid for pid, parent in members.items() if parent not in members or not _same(pid, parent))
            self.most = max(self.most, sum(_pss(pid) for pid in own))

    def end(self) -> float:
        """MB."""
        self._ended.set()
        self.join()
        return self.most / 1024


def _members(session: int) -> dict[int, int]:
    """Processes and their parents."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "stat").read_text().rpartition(") ")[2].split()
            except OSError:
                continue
            if int(words[3]) == session:
                found[int(entry.name)] = int(words[1])
    return found


def _same(pid: int, parent: int) -> bool:
    """A child of vfork(2) is in its parent's memory until it has become another program: kcmp(2), KCMP_VM."""
    number = {"x86_64": 312, "aarch64": 272}[os.uname().machine]
    return int(ctypes.CDLL(None).syscall(number, pid, parent, 1, 0, 0)) == 0


def _pss(pid: int) -> int:
    """kB; smaps_rollup's Pss (proc_pid_smaps(5))."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)


class Work:
    """What all tools are given: hosts, certificates, inventories."""

    def __init__(self, folder: Path, hosts: Sequence[Host]) -> None:
        self.folder = folder
        self.hosts = hosts
        self.certificates = folder / "certificates"
        for one in (folder / "ca", self.certificates):
            one.mkdir()
        authority = ensure_authority(folder / "ca")
        made = ensure_server(authority, self.certificates, [one.ip for one in hosts])
        for path in (made.ca, made.server, made.server_key):
            if path.parent != self.certificates:
                shutil.copy(path, self.certificates)
        self.env = {**os.environ, "HOME": str(folder), "LC_ALL": "C.UTF-8"}

    def command(self, tool: str, mirror: str) -> tuple[list[str], Path]:
        """The command and the folder that it runs in."""
        if tool == OURS:
            return self._ours(mirror), self.folder
        if tool == ANSIBLE:
            return self._ansible(mirror), PEERS
        return self._pyinfra(mirror), PEERS

    def _ours(self, mirror: str) -> list[str]:
        folder = self.folder / "ours"
        (folder / "group_vars").mkdir(parents=True, exist_ok=True)
        key = self.hosts[0].key
        lines = [f"{one.name} ansible_host={one.ip}" for one in self.hosts]
        lines += ["[all:vars]", "ansible_user=root", f"ansible_ssh_private_key_file={key}"]
        (folder / "hosts.ini").write_text("\n".join(lines) + "\n")
        (folder / "group_vars/all.yml").write_text(
            f"machinectl:\n  registry-mirrors: [{mirror}]\n  files:\n"
            '    - {dest: /etc/motd, content: "{{ inventory_hostname }} is looked after by a tool\\n"}\n'
        )
        store = ["-s", str(self.folder / "store")]
        return [sys.executable, "-m", "machinectl", "-q", *store, "apply", "--yes", "-i", str(folder)]

    def _ansible(self, mirror: str) -> list[str]:
        path = self.folder / "ansible.ini"
        lines = [f"{one.name} ansible_host={one.ip}" for one in self.hosts]
        lines += ["[all:vars]", "ansible_user=root", f"ansible_ssh_private_key_file={self.hosts[0].key}"]
        lines += [f"certificates={self.certificates}", "ansible_python_interpreter=/usr/bin/python3"]
        path.write_text("\n".join(lines) + "\n")
        (self.folder / ".ansible.cfg").write_text(
            "[defaults]\nhost_key_checking = False\n[connection]\npipelining = True\n"
            "[ssh_connection]\npipelining = True\nssh_args = -o ControlMaster=auto "
            "-o ControlPersist=60s -o UserKnownHostsFile=/dev/null\n"
        )
        forks = str(len(self.hosts))
        program = str(VENV / "bin/ansible-playbook")
        return [program, "-i", str(path), "-f", forks, "-e", f"mirror={mirror}", "site.yml"]

    def _pyinfra(self, mirror: str) -> list[str]:
        path = self.folder / "pyinfra_hosts.py"
        shared = {
            "ssh_user": "root",
            "ssh_key": str(self.hosts[0].key),
            "ssh_strict_host_key_checking": "off",
            "ssh_known_hosts_file": str(self.folder / "pyinfra_known_hosts"),
            "certificates": str(self.certificates),
            "mirror": mirror,
        }
        path.write_text(f"hosts = {[(one.ip, shared) for one in self.hosts]!r}\n")
        return [str(VENV / "bin/pyinfra"), "-y", str(path), "deploy.py"]

    def run(self, tool: str, mirror: str, sample: Sample | None) -> None:
        """One run; it must succeed."""
        words, folder = self.command(tool, mirror)
        log = self.folder / f"{tool}.log"
        with log.open("w") as out:
            began = time.monotonic()
            child = subprocess.Popen(
                words, cwd=folder, env=self.env, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
            memory = Memory(child.pid)
            memory.start()
            status = child.wait()
            took = time.monotonic() - began
        most = memory.end()
        if status:
            raise SystemExit(f"{tool} failed ({status}):\n{log.read_text()[-3000:]}")
        if sample is not None:
            sample.seconds.append(took)
            sample.memory.append(most)


def measure(
    lab: Lab, tools: Sequence[str], count: int, rounds: int, found: dict[tuple[str, str, int], Sample]
) -> None:
    for tool in tools:
        for kind in KINDS:
            found[tool, kind, count] = Sample()
    for number in range(rounds):
        works: dict[str, Work] = {}
        for tool in tools:
            # bare again: a tool's hosts are its own
            letter = tool[0].lower()
            hosts = lab.up([HostWish(f"{letter}{one}", "bookworm") for one in range(count)])
            works[tool] = Work(Path(tempfile.mkdtemp()), hosts)
            works[tool].run(tool, "http://127.0.0.1:5000", found[tool, FIRST, count])
        for again in range(3):
            for tool in tools:
                works[tool].run(
                    tool, f"http://127.0.0.1:500{again}", found[tool, LINE, count] if again else None
                )
                works[tool].run(tool, f"http://127.0.0.1:500{again}", found[tool, NOTHING, count])
        for work in works.values():
            shutil.rmtree(work.folder)
        lab.down()
        print(f"{count} hosts, round {number + 1} of {rounds}", file=sys.stderr)


def prepare_peers() -> None:
    """Their own venv: pyinfra wants another paramiko than we do."""
    if not (VENV / "bin/pyinfra").exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        subprocess.run([VENV / "bin/pip", "install", "-q", "-r", PEERS / "requirements.txt"], check=True)


def report(
    tools: Sequence[str], counts: Sequence[int], found: dict[tuple[str, str, int], Sample]
) -> list[str]:
    """Prints the table; says which targets are missed."""
    print(f"{'':28}" + "".join(f"{tool:>22}" for tool in tools))
    missed = []
    for count in counts:
        for kind in KINDS:
            seconds = {tool: statistics.median(found[tool, kind, count].seconds) for tool in tools}
            memory = {tool: max(found[tool, kind, count].memory) for tool in tools}
            cells = "".join(f"{f'{seconds[tool]:.2f} s {memory[tool]:5.0f} MB':>22}" for tool in tools)
            print(f"{f'{count} hosts, {kind}':28}{cells}")
            factors = {FIRST: (1.0, 1.0), NOTHING: (10.0, 3.0)}.get(kind)
            if factors and seconds.get(ANSIBLE, 1e9) < factors[0] * seconds[OURS]:
                missed.append(f"{count} hosts, {kind}: {factors[0]:g} times faster than Ansible")
            if factors and seconds.get(PYINFRA, 1e9) < factors[1] * seconds[OURS]:
                missed.append(f"{count} hosts, {kind}: {factors[1]:g} times faster than pyinfra")
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hosts", type=int, nargs="+", default=[1, 5, 20])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=TOOLS)
    args = parser.parse_args()
    if set(args.tools) - {OURS}:
        prepare_peers()
    settings = Settings(Path("/var/lib/machinectl-lab-bench"), bridge="mcbench0", subnet="198.18.81.0/24")
    lab = Lab(settings)
    lab.down()
    found: dict[tuple[str, str, int], Sample] = {}
    try:
        for count in args.hosts:
            measure(lab, args.tools, count, args.rounds, found)
    finally:
        lab.down()
    missed = report(args.tools, args.hosts, found)
    for one in missed:
        print(f"missed: {one}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
