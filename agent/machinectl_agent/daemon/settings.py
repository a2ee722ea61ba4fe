"""Where the daemon finds things, and its limits. Tests pass others."""

from __future__ import annotations

from dataclasses import dataclass

SOCKET = "/run/machinectl/agent.sock"
NETWORK_SOCKET = "/run/machinectl/network.sock"
"""The network service's (network/service.py); here, so that dialling it loads nothing of that."""


@dataclass(frozen=True)
class Settings:
    """Times are seconds."""

    socket: str = SOCKET
    """Ours; its folder is 0700, itself 0600."""
    owner: int = 0
    """The only uid that is answered (SO_PEERCRED, unix(7))."""
    engine_socket: str = "/run/docker.sock"
    unit: str = "docker.service"
    apply_lock: str = "/run/machinectl/apply.lock"
    clients: int = 32
    """At once. The next one is told so and let go."""
    line: int = 1024 * 1024
    """Bytes of a request. Most fit into a hundred; that of a survey holds all that is wanted of a host."""
    patience: float = 10.0
    """For a client's whole request, and for each piece of the answer that it takes."""
    interval: float = 5.0
    """Between two looks at a dockerd that is well."""
    hurry: float = 2.0
    """Between two looks while it is not."""
    ping_deadline: float = 5.0
