"""The seam between the networks as etcd has them and the kernel that carries their packets."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import List, Mapping, Protocol, Set, Tuple


@dataclass(frozen=True)
class Wiring:
    """A network as the kernel of this machine needs it."""

    network: str
    """Id; its first 12 digits name what is made."""
    vni: int
    mtu: int
    """Of the containers' interfaces."""
    subnets: Tuple[str, ...]
    underlay: str
    """This machine's own VTEP address, IPv4 or IPv6."""


@dataclass(frozen=True)
class Peer:
    """An endpoint on another machine."""

    mac: str
    addresses: Tuple[str, ...]
    vtep: str
    """Underlay address of its machine."""


class Dataplane(Protocol):
    """Networks and endpoints are named by their ids, or by the first 12 digits of these."""

    def networks(self) -> Set[str]:
        """Short ids (first 12 hex) of namespaces of ours in the kernel."""

    def ensure_network(self, wiring: Wiring) -> bool:
        """True if anything was made or changed. Idempotent; repairs what is half-made or differs."""

    def remove_network(self, network: str) -> None:
        """With all its ports. Idempotent."""

    def attach(self, network: str, endpoint: str, mac: str) -> str:
        """A veth pair: one end on the network's bridge, the other in the host's namespace. Returns the latter's
        name, Docker's SrcName. Idempotent."""

    def detach(self, network: str, endpoint: str) -> None:
        """Idempotent; also when Docker has already moved or deleted the other end."""

    def attached(self, network: str) -> Set[str]:
        """Short endpoint ids (first 12) that have a port."""

    def set_peers(self, network: str, peers: Mapping[str, Peer]) -> int:
        """The whole truth, by endpoint id: programs the difference to what the kernel has; how many changes."""

    def put_peer(self, network: str, endpoint: str, peer: Peer) -> None:
        """One peer came or changed."""

    def drop_peer(self, network: str, endpoint: str, peer: Peer) -> None:
        """One peer went; what another endpoint has claimed since stays."""

    def listen(self, network: str) -> Tuple[socket.socket, socket.socket]:
        """UDP and TCP, bound to settings.RESOLVER:53 inside the network's namespace."""

    def resolver_route(self, sandbox: str, endpoint_mac: str) -> None:
        """Inside a container's namespace (a path): settings.RESOLVER/32 over the interface that has this MAC."""

    def narrow(self, sandbox: str, endpoint_mac: str, mtu: int) -> bool:
        """Inside a container's namespace: the interface that has this MAC gets no more than `mtu` bytes; whether it
        had. What a running container sends in larger packets is lost once its network has become narrower."""

    def findings(self, wiring: Wiring, peers: Mapping[str, Peer]) -> List[str]:
        """What differs from the truth, for a person; changes nothing."""
