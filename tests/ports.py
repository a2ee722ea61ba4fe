"""TCP ports of servers that tests start."""

from __future__ import annotations

import itertools
import os
import socket
from pathlib import Path

_LOWEST = 10_000
_DEFAULT = 32_768
"""Where the kernel's own ports begin by default (ip-sysctl, ip_local_port_range)."""


def _own() -> itertools.cycle[int]:
    """A block for each worker of the tests, below the ports that the kernel gives to whoever asks for none: nobody takes
    one between our choice and the server. Where an admin has given it all ports, only the default's are left out."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    each = ((first if first > 2 * _LOWEST else _DEFAULT) - _LOWEST) // workers
    ports = range(_LOWEST + worker * each, _LOWEST + (worker + 1) * each)
    begin = os.getpid() % each  # runs beside each other begin elsewhere
    return itertools.cycle([*ports[begin:], *ports[:begin]])


_ports = _own()


def free_ports(count: int) -> list[int]:
    """Different ones of 127.0.0.1 on which nobody listens."""
    return [free_port() for _ in range(count)]


def free_port() -> int:
    while True:
        port = next(_ports)
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
