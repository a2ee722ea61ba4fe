"""Both clients of etcd against a real etcd on loopback, each in a process of its own.

    python benchmarks/kv.py [PUTS]

puts/s: one thread, one after the other. Watch: from the start of a put to the arrival of its change in another
thread. RSS after all of it; import: the modules alone, less a bare Python. CPU: a watch while etcd is away.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]

CLIENTS = {
    "gateway": ("machinectl_agent.kv.gateway", "Gateway"),
    "etcd3": ("machinectl.kv.client", "Etcd3"),
}
IMPORTS = {
    "gateway": "import machinectl_agent.kv.gateway",
    "etcd3": "import machinectl.kv.client; machinectl.kv.client.rpc()",
}


def import_ms(statement: str) -> float:
    """Median of 7, in milliseconds."""
    took: dict[str, list[float]] = {"pass": [], statement: []}
    for _ in range(7):
        for code, times in took.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, cwd=HERE)
            times.append((time.perf_counter() - began) * 1000)
    return statistics.median(took[statement]) - statistics.median(took["pass"])


def client_of(kind: str) -> Any:
    """The class; only one of the two is loaded."""
    module, name = CLIENTS[kind]
    return getattr(importlib.import_module(module), name)


def measure(kind: str, endpoint: str, count: int) -> dict[str, float]:
    """In a process of its own, see `main`."""
    client = client_of(kind)
    kv = client([endpoint])
    kv.get("a")
    began = time.perf_counter()
    for number in range(count):
        kv.put(f"/puts/{number}", b"x" * 100)
    puts = count / (time.perf_counter() - began)
    watch = kv.watch(["/watched/"])
    came: queue.SimpleQueue[float] = queue.SimpleQueue()

    def read() -> None:
        for _ in watch:
            came.put(time.perf_counter())

    thread = threading.Thread(target=read)
    thread.start()
    came.get(timeout=10)
    latencies = []
    for number in range(300):
        began = time.perf_counter()
        kv.put("/watched/a", str(number).encode())
        latencies.append((came.get(timeout=10) - began) * 1000)
    watch.close()
    thread.join()
    began = time.perf_counter()
    read_keys = len(kv.range("/puts/", deadline=60).items)
    ranged = read_keys / (time.perf_counter() - began)
    kv.close()
    return {
        "puts/s": puts,
        "watch ms, median": statistics.median(latencies),
        "watch ms, 99 %": sorted(latencies)[-3],
        "keys/s of a range": ranged,
        "RSS MB": peak_kib() / 1024,
        "CPU % while etcd is away": cpu_away(client),
    }


def peak_kib() -> int:
    """Not of getrusage(2): that one counts what the process was before exec, too."""
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0])


def cpu_away(client: Any) -> float:
    """Of one core, over 5 s."""
    watch = client(["http://127.0.0.1:1"]).watch(["/a/"])
    thread = threading.Thread(target=lambda: list(watch))
    thread.start()
    before = time.process_time()
    time.sleep(5)
    spent = time.process_time() - before
    watch.close()
    thread.join()
    return spent / 5 * 100


def main() -> int:
    """Prints the table."""
    if len(sys.argv) == 4:
        print(json.dumps(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
        return 0
    from tests.etcd_cluster import EtcdCluster  # noqa: PLC0415 - not in the processes that are measured

    count = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    table: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder, EtcdCluster(Path(folder) / "etcd") as cluster:
        for kind, statement in IMPORTS.items():
            words = [sys.executable, __file__, kind, cluster.endpoints[0], str(count)]
            environment = {**os.environ, "PYTHONPATH": str(HERE)}
            done = subprocess.run(words, check=True, capture_output=True, text=True, env=environment)
            table[kind] = {**json.loads(done.stdout), "import ms": import_ms(statement)}
    print(f"{'':28}" + "".join(f"{kind:>12}" for kind in table))
    for name in next(iter(table.values())):
        print(f"{name:28}" + "".join(f"{values[name]:12.1f}" for values in table.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
