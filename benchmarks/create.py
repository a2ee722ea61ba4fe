"""How long create takes on lab hosts, first and again, beside what SSH itself takes.

    sudo .venv/bin/python benchmarks/create.py [--suite bookworm] [--hosts 3] [--runs 5]

Boots a lab of its own, measures, removes it. Wall-clock seconds; the three repeated commands are run in turn,
so that a machine whose speed drifts drifts for all of them. First creates include the packages' download.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machinectl.lab.lab import HostWish, Lab
from machinectl.lab.settings import Settings


def timed(*words: object) -> float:
    """Seconds of one command that has to succeed."""
    began = time.perf_counter()
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        sys.exit(f"{words}: {done.stdout}{done.stderr}")
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", default="bookworm")
    parser.add_argument("--hosts", type=int, default=3)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="machinectl-bench.", dir="/var/tmp") as folder:
        settings = Settings(
            Path("/var/lib/machinectl-lab-bench"), bridge="mcbench0", subnet="198.19.200.0/24"
        )
        lab = Lab(settings)
        lab.down()  # what a killed run left
        tool = [sys.executable, "-m", "machinectl", "-s", f"{folder}/store"]
        try:
            lab.up([HostWish("warm", args.suite)])
            began = time.perf_counter()
            hosts = lab.up([HostWish(f"node{number + 1}", args.suite) for number in range(args.hosts)])
            rows = {f"lab up, {args.hosts} hosts": [time.perf_counter() - began]}
            ssh = [
                "ssh",
                "-i",
                settings.key,
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
            ]
            for host in hosts:
                create = [*tool, "create", "--ip", host.ip, "--ssh-key", settings.key, host.name]
                rows.setdefault("create, bare host", []).append(timed(*create))
                for _ in range(args.runs):
                    rows.setdefault("create again (nothing to do)", []).append(timed(*create))
                    rows.setdefault("ssh host true", []).append(timed(*ssh, f"root@{host.ip}", "true"))
                    rows.setdefault("machinectl env", []).append(timed(*tool, "env", host.name))
            rows.setdefault("lab reboot", []).append(timed_reboot(lab, hosts[0].name))
        finally:
            lab.down()
    print(f"{'':32}{'runs':>5}{'min':>9}{'median':>9}{'max':>9}   (s, {args.suite})")
    for name, values in rows.items():
        print(f"{name:32}{len(values):5}{min(values):9.2f}{statistics.median(values):9.2f}{max(values):9.2f}")


def timed_reboot(lab: Lab, name: str) -> float:
    """Until sshd answers again."""
    began = time.perf_counter()
    lab.reboot(name)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
