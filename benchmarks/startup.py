"""Wall time of the commands that run in prompts and scripts, as multiples of `python3 -c pass`.

    python benchmarks/startup.py [ROUNDS]

Commands take turns, so that a busy moment of the machine hits all of them; the median of the rounds counts.
Targets: `env` at most 80 ms and at most 5 times a bare Python. Exit status 1 where it misses them.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machinectl.model import Machine, SshAddress
from machinectl.store.store import Store

LIMIT_MS, LIMIT_RATIO = 80.0, 5.0


def measure(commands: dict[str, list[str]], rounds: int, environment: dict[str, str]) -> dict[str, float]:
    """Milliseconds, the median of each command."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            started = time.perf_counter()
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True, timeout=60)
            if number:  # the first round fills caches
                times[name].append((time.perf_counter() - started) * 1000)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> int:
    """Prints the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    installed = Path(sys.executable).with_name("machinectl")
    program = str(installed) if installed.exists() else shutil.which("mctl") or ""
    if not program:
        print("machinectl is not installed beside this Python", file=sys.stderr)
        return 1
    # env looks whether the engine's port is open: something must listen there
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.create_server(("127.0.0.1", 0), backlog=4096) as engine,
    ):
        port = engine.getsockname()[1]
        store = Store(folder)
        for number in range(20):
            store.save(Machine(f"node{number}", "127.0.0.1", SshAddress("127.0.0.1"), port, state="ready"))
        environment = {**os.environ, "MACHINECTL_STORAGE_PATH": folder}
        bare, env = "python3 -c pass", "machinectl env node1"
        commands = {
            bare: [sys.executable, "-c", "pass"],
            env: [program, "env", "node1"],
            "machinectl env --no-check node1": [program, "env", "--no-check", "node1"],
            "machinectl ip node1": [program, "ip", "node1"],
            "machinectl shell-init bash": [program, "shell-init", "bash"],
            "machinectl --help": [program, "--help"],
            "machinectl env --help": [program, "env", "--help"],
            "machinectl ls -q": [program, "ls", "-q"],
        }
        medians = measure(commands, rounds, environment)
    print(f"{'command':34}{'ms':>8}{'ratio':>8}   median of {rounds}")
    for name, median in medians.items():
        print(f"{name:34}{median:8.1f}{median / medians[bare]:8.1f}")
    met = medians[env] <= LIMIT_MS and medians[env] / medians[bare] <= LIMIT_RATIO
    print(f"target for env: at most {LIMIT_MS:g} ms and {LIMIT_RATIO:g} times: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
