"""Ends every container when the machine goes down: SIGTERM, then SIGKILL for what is still there.

dockerd is not asked: it has stopped already, and a container that it had stopped itself would not come back
after the boot where its restart policy is `unless-stopped`. One whose processes simply ended does.
"""

from __future__ import annotations

import os
import signal
import time
from typing import List

from machinectl_agent.host import Host

GRACE = 10.0
"""Seconds between SIGTERM and SIGKILL; what `docker stop` gives by default."""

PAUSE = 0.05


def end_containers(host: Host, grace: float = GRACE) -> int:
    """Returns how many there were. Process 1 of a container never hears a SIGTERM that it has no handler for
    (pid_namespaces(7)): such a one is not waited for."""
    first = container_processes(host)
    listening = {pid for pid in first if catches_sigterm(host.read(f"/proc/{pid}/status") or "")}
    for pid in listening:
        _send(pid, signal.SIGTERM)
    for pid in set(first) - listening:
        _send(pid, signal.SIGKILL)
    end = time.monotonic() + grace
    while listening & set(container_processes(host)) and time.monotonic() < end:
        time.sleep(PAUSE)
    for pid in container_processes(host):
        _send(pid, signal.SIGKILL)
    return len(first)


def catches_sigterm(status: str) -> bool:
    """SigCgt of /proc/PID/status: a hexadecimal mask, the lowest bit is signal 1 (proc(5))."""
    for line in status.splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


def container_processes(host: Host) -> List[int]:
    """Process 1 of every container: the children of containerd's shims that are no shims themselves."""
    parents = {}
    shims = set()
    for name in host.names("/proc"):
        if name.isdigit():
            stat = host.read(f"/proc/{name}/stat") or ""
            command = stat[stat.find("(") + 1 : stat.rfind(")")]
            fields = stat.rpartition(")")[2].split()
            if len(fields) > 1 and fields[0] != "Z":
                parents[int(name)] = int(fields[1])
                # the kernel cuts names after 15 characters: containerd-shim, containerd-shim-runc-v2
                if command.startswith("containerd-shim"):
                    shims.add(int(name))
    return sorted(pid for pid, parent in parents.items() if parent in shims and pid not in shims)


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # ended by itself in between
