"""Ends every container when the machine goes down: SIGTERM, then SIGKILL for what is still there.

dockerd is not asked: it has stopped already, and a container that it had stopped itself would not come back
after the boot where its restart policy is `unless-stopped`. One whose processes simply ended does.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Iterable, Iterator, List, Tuple

from machinectl_agent.host import Host

GRACE = 10.0
"""Seconds between SIGTERM and SIGKILL; what `docker stop` gives by default."""

PAUSE = 0.05


def end_containers(host: Host, grace: float = GRACE) -> int:
    """Returns how many there were. Process 1 of a container never hears a SIGTERM that it has no handler for
    (pid_namespaces(7)): such a one is not waited for. Shims go last: one whose container has ended waits for
    dockerd to ask how, and the oldest (containerd 1.4) hear no SIGTERM either."""
    first = container_processes(host)
    listening = {pid for pid in first if catches_sigterm(host.read(f"/proc/{pid}/status") or "")}
    _send(signal.SIGTERM, listening)
    _send(signal.SIGKILL, set(first) - listening)
    end = time.monotonic() + grace
    while listening & set(container_processes(host)) and time.monotonic() < end:
        time.sleep(PAUSE)
    _send(signal.SIGKILL, container_processes(host))
    _send(signal.SIGKILL, shims(host))
    return len(first)


def catches_sigterm(status: str) -> bool:
    """SigCgt of /proc/PID/status: a hexadecimal mask, the lowest bit is signal 1 (proc(5))."""
    for line in status.splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


def container_processes(host: Host) -> List[int]:
    """Process 1 of every container: the children of containerd's shims that are no shims themselves."""
    parents = set(shims(host))
    return sorted(pid for pid, parent in _processes(host) if parent in parents and pid not in parents)


def shims(host: Host) -> List[int]:
    """containerd's shims, one or more a container."""
    # the kernel cuts names after 15 characters: containerd-shim, containerd-shim-runc-v2
    return [pid for pid, _ in _processes(host, "containerd-shim")]


def _processes(host: Host, command: str = "") -> Iterator[Tuple[int, int]]:
    """pid and parent of what runs (zombies are gone but for their exit status), from /proc/PID/stat."""
    for name in host.names("/proc"):
        stat = host.read(f"/proc/{name}/stat") or "" if name.isdigit() else ""
        fields = stat.rpartition(")")[2].split()
        if len(fields) > 1 and fields[0] != "Z" and stat[stat.find("(") + 1 :].startswith(command):
            yield int(name), int(fields[1])


def _send(number: int, pids: Iterable[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass  # ended by itself in between
