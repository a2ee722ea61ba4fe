"""What the network service is told: /etc/machinectl/network.json, written by the apply, and fixed paths."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Dict, Tuple

from machinectl_agent.daemon.settings import NETWORK_SOCKET
from machinectl_agent.network.paths import CACHE, CONFIG, ENDPOINTS, LEDGER, PLUGIN_SOCKET, PREFIX
from machinectl_agent.problems import Problem


@dataclass(frozen=True)
class Settings:
    """One machine's membership. Times are seconds."""

    id: str
    name: str
    endpoints: Tuple[str, ...]
    vtep: str = ""
    """Underlay address; empty or no longer on this host: the address that leads to etcd."""
    ca: str = ""
    cert: str = ""
    key: str = ""
    prefix: str = PREFIX
    pools: Tuple[str, ...] = ()
    """CIDRs that subnets are chosen from; empty: the registry's default."""
    pool_size: int = 24
    upstreams: Tuple[str, ...] = ()
    """DNS servers; empty: what the host itself uses."""
    plugin_socket: str = PLUGIN_SOCKET
    control_socket: str = NETWORK_SOCKET
    engine_socket: str = "/run/docker.sock"
    unit: str = "docker.service"
    ledger: str = LEDGER
    cache: str = CACHE
    learned: str = ENDPOINTS
    port: int = 4789
    """VXLAN's, RFC 7348."""
    ttl: int = 30
    """Of the `alive` lease."""
    patience: float = 10.0
    """How long a call of dockerd's waits for etcd before the container is told that it is away."""
    linger: float = 30.0
    """How long an empty network's namespace is kept: the next container starts 30 ms sooner."""
    interval: float = 60.0
    """Between two reconciles."""


def load(path: str = CONFIG) -> Settings:
    """Raises `Problem` `network-config` naming the file."""
    try:
        with open(path, encoding="utf-8") as stream:
            document: Dict[str, Any] = json.load(stream)
        for name in ("endpoints", "pools", "upstreams"):
            document[name] = tuple(document.get(name, ()))
        return Settings(**document)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise Problem(
            "network-config",
            f"{path} can't be used",
            why=str(error),
            hint="`machinectl network join NAME` writes it anew",
        ) from error
