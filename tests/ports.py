"""TCP ports of servers that tests start."""

from __future__ import annotations

import itertools
import os
import socket
from pathlib import Path

_EACH = 2000
"""Ports that a worker of the tests has for itself."""


def _own() -> itertools.cycle[int]:
    """Below those that the kernel gives to whoever asks for none: nobody takes one between our choice and the server."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    low = max(1024, first - (worker % 8 + 1) * _EACH)
    # runs beside each other begin elsewhere
    ports = range(low, low + _EACH)
    begin = os.getpid() % _EACH
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
