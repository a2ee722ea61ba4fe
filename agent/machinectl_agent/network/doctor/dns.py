"""The way that a container's question takes: daemon.json, our server in each network, the servers behind it."""

from __future__ import annotations

import json
import secrets
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Iterator, List, Mapping

from machinectl_agent.network.dns.upstreams import Upstreams, address_of
from machinectl_agent.network.doctor.case import Case
from machinectl_agent.network.doctor.finding import Finding
from machinectl_agent.network.netlink.namespaces import inside
from machinectl_agent.network.paths import RESOLVER

DAEMON_JSON = "/etc/docker/daemon.json"
NAMESPACES = "/run/netns"
DEADLINE = 2.0

_HEADER = struct.Struct("!6H")
"""RFC 1035, 4.1.1."""


def check_dns(case: Case) -> Iterator[Finding]:
    yield from order(_daemon_json(), case.core.settings.name)
    local = case.core.fabric.local()
    for network in case.networks:
        if network.id in local and not _answers_inside(f"{NAMESPACES}/mctl-{network.id[:12]}"):
            yield Finding(
                f"network {network.name}",
                f"its DNS at {RESOLVER} does not answer",
                "containers in it find no names of other machines",
                "`systemctl restart machinectl-network` on this host; traffic goes on meanwhile",
            )
    upstreams: List[str] = list(Upstreams(case.core.settings.upstreams)())
    if not upstreams:
        yield Finding(
            "dns",
            "there is no server for names that are not ours",
            "neither `--upstream` nor the host's /etc/resolv.conf names one",
            "name one in /etc/resolv.conf",
        )
        return
    with ThreadPoolExecutor(len(upstreams)) as pool:
        outcomes = pool.map(lambda one: "" if _answers(one) else one, upstreams)
        silent = [one for one in outcomes if one]
    for one in silent:
        yield Finding(
            "dns",
            f"the server {one} does not answer",
            "names that are not ours "
            + ("are not found" if len(silent) == len(upstreams) else "are found later"),
            "name a server that does, in /etc/resolv.conf",
        )


def order(document: Mapping[str, Any], machine: str) -> Iterator[Finding]:
    """Pure. Docker asks the servers one after the other; a foreign one that comes first says NXDOMAIN."""
    servers = document.get("dns") or []
    if RESOLVER not in servers:
        yield Finding(
            "dns",
            f"{RESOLVER} is not among the DNS servers of {DAEMON_JSON}",
            "new containers find no names of other machines",
            f"`machinectl provision {machine}`",
        )
    elif servers[0] != RESOLVER:
        yield Finding(
            "dns",
            f"{servers[0]} comes before {RESOLVER} in {DAEMON_JSON}",
            "it is asked first, and says that our names do not exist",
            f"`machinectl provision {machine}`",
        )


def render_question(identity: int) -> bytes:
    """Pure: `. NS`, which every server knows how to answer or to refuse; one question, recursion desired."""
    return _HEADER.pack(identity, 0x0100, 1, 0, 0, 0) + b"\0" + struct.pack("!2H", 2, 1)


def _answers(server: str) -> bool:
    """Any answer will do, also SERVFAIL: somebody is there."""
    host, port = address_of(server)
    identity = secrets.randbits(16)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        one.settimeout(DEADLINE / 2)
        for _ in range(2):  # one packet may be lost
            try:
                one.connect((host, port))
                one.send(render_question(identity))
                if one.recv(4096)[:2] == identity.to_bytes(2, "big"):
                    return True
            except OSError:
                continue
    return False


def _answers_inside(namespace: str) -> bool:
    try:
        return inside(namespace, lambda: _answers(RESOLVER))
    except OSError:
        return False


def _daemon_json() -> Mapping[str, Any]:
    try:
        with open(DAEMON_JSON, encoding="utf-8") as stream:
            document = json.load(stream)
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
