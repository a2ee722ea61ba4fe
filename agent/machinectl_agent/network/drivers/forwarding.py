"""What the peers of a network say about MACs, addresses and VTEPs. Pure; no kernel here.

An address or MAC can be claimed twice for a moment: a container moved, and its new endpoint is told before
the old one is gone. The later word counts, and the old endpoint's end takes away only what nobody else claims.
"""

from __future__ import annotations

from typing import Dict, Iterable, Iterator, Mapping, Optional, Set, Tuple

from machinectl_agent.network.drivers.interface import Peer

MAC, ADDRESS, VTEP = "mac", "address", "vtep"

Fact = Tuple[str, str]
"""(MAC, mac): behind which VTEP; (ADDRESS, ip): whose MAC; (VTEP, address): is flooded to."""

Changes = Dict[Fact, Tuple[Optional[str], Optional[str]]]
"""Value before and after; None: there is none."""


class Forwarding:
    """The peers by endpoint id, and what follows from all of them."""

    def __init__(self) -> None:
        self._peers: Dict[str, Peer] = {}
        self._claims: Dict[Fact, Dict[str, str]] = {}
        """Fact → endpoint → value, the latest last."""
        self.whole = False
        """Whether all peers have been told once: before, a VTEP may have endpoints that we don't know of."""

    def replace(self, peers: Mapping[str, Peer]) -> None:
        self._peers, self._claims = {}, {}
        for endpoint, peer in peers.items():
            self._claim(endpoint, peer)
        self.whole = True

    def put(self, endpoint: str, peer: Peer) -> Changes:
        """All facts of this peer, and those that changed."""
        facts = self._facts_of(self._peers.get(endpoint), peer)
        before = {fact: self.value(fact) for fact in facts}
        self._withdraw(endpoint)
        self._claim(endpoint, peer)
        told = {fact for fact, _ in _facts(peer)}
        after = {fact: self.value(fact) for fact in facts}
        return {
            fact: (before[fact], after[fact]) for fact in facts if fact in told or before[fact] != after[fact]
        }

    def drop(self, endpoint: str, peer: Peer) -> Changes:
        """What changed. A peer that was never told counts as told: the kernel may have it from an earlier run."""
        known = self._peers.get(endpoint, peer)
        before = {fact: self.value(fact) or value for fact, value in _facts(known)}
        self._withdraw(endpoint)
        after = {fact: self.value(fact) for fact in before}
        if not self.whole:
            before.pop((VTEP, known.vtep), None)
        return {fact: (value, after[fact]) for fact, value in before.items() if value != after[fact]}

    def value(self, fact: Fact) -> Optional[str]:
        claims = self._claims.get(fact)
        return next(reversed(claims.values())) if claims else None

    def remote(self) -> Dict[str, str]:
        """MAC → VTEP."""
        return self._all(MAC)

    def neighbours(self) -> Dict[str, str]:
        """Address → MAC."""
        return self._all(ADDRESS)

    def vteps(self) -> Set[str]:
        return set(self._all(VTEP))

    def peers(self) -> Mapping[str, Peer]:
        return self._peers

    def _all(self, kind: str) -> Dict[str, str]:
        return {
            name: next(reversed(claims.values()))
            for (one, name), claims in self._claims.items()
            if one == kind
        }

    def _facts_of(self, *peers: Optional[Peer]) -> Iterable[Fact]:
        return {fact: None for peer in peers if peer for fact, _ in _facts(peer)}

    def _claim(self, endpoint: str, peer: Peer) -> None:
        self._peers[endpoint] = peer
        for fact, value in _facts(peer):
            self._claims.setdefault(fact, {})[endpoint] = value

    def _withdraw(self, endpoint: str) -> None:
        peer = self._peers.pop(endpoint, None)
        for fact, _ in _facts(peer) if peer else ():
            claims = self._claims[fact]
            del claims[endpoint]
            if not claims:
                del self._claims[fact]


def _facts(peer: Peer) -> Iterator[Tuple[Fact, str]]:
    yield (MAC, peer.mac), peer.vtep
    for address in dict.fromkeys(peer.addresses):
        yield (ADDRESS, address), peer.mac
    yield (VTEP, peer.vtep), peer.vtep
