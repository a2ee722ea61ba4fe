"""What this machine's dockerd is told of registries: daemon.json and /etc/docker/certs.d. Light: every apply reads
it."""

from __future__ import annotations

import json
from typing import Any, Mapping, Tuple

from machinectl_agent.engine import daemon_json
from machinectl_agent.host import Host

CERTS = "/etc/docker/certs.d"
MIRRORS, INSECURE, CAS = "registry-mirrors", "insecure-registries", "registry-cas"


def options(host: Host) -> Mapping[str, Any]:
    """daemon.json; empty where it can't be read, which is said elsewhere."""
    try:
        found = json.loads(host.read(daemon_json.FILE) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def cas(host: Host, place: str) -> Tuple[str, ...]:
    """The CAs that dockerd takes for this registry, PEM."""
    folder = f"{CERTS}/{place}"
    return tuple(host.read(f"{folder}/{name}") or "" for name in host.names(folder, ".crt"))


def told(host: Host) -> Tuple[Any, ...]:
    """What the mirrors' answers depend on: compared before and after a run."""
    found = options(host)
    certificates = tuple((name, cas(host, name)) for name in host.names(CERTS))
    return json.dumps([found.get(MIRRORS), found.get(INSECURE)], sort_keys=True), certificates
