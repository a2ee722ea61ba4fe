"""The way of containers' DNS questions through the host's INPUT chains.

Only those of containers in Docker's own networks come that way; those in ours ask inside the network's namespace.
daemon.json names our server to all of them, and a question that is dropped is a time-out before the next server.
"""

from __future__ import annotations

from typing import Dict, Iterator, List, Set, Tuple

from machinectl_agent.network.doctor.case import Case
from machinectl_agent.network.doctor.finding import Finding
from machinectl_agent.network.doctor.rules import Chain, read_filters
from machinectl_agent.network.paths import RESOLVER

PORT = "53"
BRIDGES = ("docker", "br-")
"""Beginnings of the names of Docker's bridges."""


def check_questions(_case: Case) -> Iterator[Finding]:
    yield from judge(read_filters())


def judge(chains: List[Chain]) -> Iterator[Finding]:
    """Pure. A chain that drops by its policy, or by a rule without a condition, and has no rule that may let a
    question in: what such a rule does exactly is the kernel's business."""
    known = {(one.table, one.name): one for one in chains}
    for chain in chains:
        if chain.hook == "input" and _drops(chain) and not _may_let_in(chain, known, set()):
            yield Finding(
                "dns",
                f"{chain.title} drops what containers ask {RESOLVER}",
                "those in Docker's own networks wait for a time-out with every name before the next server is asked",
                f"accept UDP and TCP port {PORT} to {RESOLVER} there (`ufw allow in to {RESOLVER} port {PORT}`, or "
                f"`iptables -I INPUT -d {RESOLVER} -p udp --dport {PORT} -j ACCEPT` and the same for tcp)",
            )


def _drops(chain: Chain) -> bool:
    return chain.drops or any(not text and verdict in ("drop", "reject") for text, verdict in chain.rules)


def _may_let_in(chain: Chain, known: Dict[Tuple[str, str], Chain], seen: Set[str]) -> bool:
    """Also by the chains that it jumps to."""
    seen.add(chain.name)
    for text, verdict in chain.rules:
        if verdict == "accept" and _may_be_question(text):
            return True
        if not text and verdict in ("drop", "reject"):
            return False
        target = known.get((chain.table, verdict.rpartition(" ")[2])) if verdict.startswith("jump ") else None
        if target and target.name not in seen and _may_let_in(target, known, seen):
            return True
    return False


def _may_be_question(text: str) -> bool:
    """Whether a rule with this condition may be about UDP to our server from a container."""
    words = text.replace(",", " ").split()
    if not words or RESOLVER in text or any(one.startswith(BRIDGES) for one in words):
        return True
    has_port = "dport" in text or "sport" in text
    return "udp" in words and (PORT in words or not has_port)
