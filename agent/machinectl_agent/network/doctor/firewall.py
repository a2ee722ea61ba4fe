"""The way out of the containers and published ports (-p): docker_gwbridge through the host's FORWARD chains.

Traffic between containers of our networks is not concerned: it never is in the host's own network namespace.
"""

from __future__ import annotations

import json
from typing import Iterator, List

from machinectl_agent.network.doctor.case import Case
from machinectl_agent.network.doctor.finding import Finding
from machinectl_agent.network.doctor.rules import Chain, read_filters

BRIDGE = "docker_gwbridge"
DOCKERS = ("DOCKER", "DOCKER-FORWARD", "DOCKER-USER")
FORWARDING = "/proc/sys/net/ipv4/ip_forward"
OURS = ("ip filter", "ip6 filter")
"""Tables that iptables writes to, and dockerd with it."""


def check_firewall(case: Case) -> Iterator[Finding]:
    with open(FORWARDING, encoding="ascii") as stream:
        if stream.read().strip() != "1":
            yield Finding(
                "firewall",
                "net.ipv4.ip_forward is 0: containers have no way out, and no published port works",
                hint=f"`sysctl net.ipv4.ip_forward=1`, `machinectl provision {case.core.settings.name}`",
            )
    has_containers = bool(case.core.ledger.endpoints())
    yield from judge(read_filters(), has_containers=has_containers, iptables=_docker_writes_rules())


def judge(chains: List[Chain], *, has_containers: bool, iptables: bool = True) -> Iterator[Finding]:
    """Pure. `iptables`: dockerd writes rules of its own."""
    for chain in chains:
        if chain.hook != "forward":
            continue
        if chain.table in OURS:
            if chain.table == "ip filter" and has_containers and iptables:
                yield from _dockers_own(chain)
            yield from _dropping_rule(chain)
            continue
        if chain.drops and not _lets_through(chain):
            yield Finding(
                "firewall",
                f"the chain {chain.title} drops what it does not know, and does not know {BRIDGE}",
                "every base chain has to let a packet through: Docker's own rules in another table don't help",
                f"accept packets from and to {BRIDGE} in that chain",
            )
        yield from _dropping_rule(chain)


def _dockers_own(chain: Chain) -> Iterator[Finding]:
    jumps = any(verdict.startswith("jump DOCKER") for _, verdict in chain.rules)
    if chain.drops and not jumps:
        yield Finding(
            "firewall",
            f"the policy of {chain.title} is drop, and Docker's rules are not in it",
            "somebody has flushed the rules after dockerd had started: published ports and the way out are closed",
            "`systemctl restart docker` writes them again; containers run on (live-restore)",
        )


def _dropping_rule(chain: Chain) -> Iterator[Finding]:
    """A rule without any condition, or about the bridge, before Docker's."""
    for text, verdict in chain.rules:
        if verdict.startswith("jump DOCKER") or (verdict == "accept" and not text):
            return
        if verdict in ("drop", "reject") and (not text or BRIDGE in text):
            condition = f" ({text})" if text else ""
            yield Finding(
                "firewall",
                f"a rule of {chain.title}{condition} drops what containers send and get through {BRIDGE}",
                "it comes before Docker's own rules",
                "remove it, or let it except that bridge",
            )
            return


def _lets_through(chain: Chain) -> bool:
    return any(verdict == "accept" and (not text or BRIDGE in text) for text, verdict in chain.rules)


def _docker_writes_rules() -> bool:
    try:
        with open("/etc/docker/daemon.json", encoding="utf-8") as stream:
            return bool(json.load(stream).get("iptables", True))
    except (OSError, ValueError, AttributeError):
        return True
