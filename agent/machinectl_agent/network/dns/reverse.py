"""Reverse names, and whether an address belongs to an overlay network."""

from __future__ import annotations

import ipaddress
from typing import Dict, Iterable, Set, Tuple


def parse_reverse(name: str) -> str:
    """`2.1.77.10.in-addr.arpa` → `10.77.1.2`; empty for what is no whole address (RFC 1035, 3.5; RFC 3596, 2.5)."""
    if not name.endswith(".arpa"):
        return ""
    labels = name.split(".")
    try:
        if len(labels) == 6 and labels[4] == "in-addr":
            return str(ipaddress.IPv4Address(".".join(reversed(labels[:4]))))
        if len(labels) == 34 and labels[32] == "ip6":
            if not all(len(one) == 1 for one in labels[:32]):
                return ""
            return str(ipaddress.IPv6Address(bytes.fromhex("".join(reversed(labels[:32])))))
    except ValueError:
        pass
    return ""


class Subnets:
    """Whether an address is in one of many subnets: a look per prefix length in use, of which there are few."""

    def __init__(self, subnets: Iterable[str]) -> None:
        self._known: Dict[Tuple[int, int], Set[int]] = {}
        for one in subnets:
            try:
                network = ipaddress.ip_network(one, strict=False)
            except ValueError:
                continue  # a record of a newer agent
            shift = network.max_prefixlen - network.prefixlen
            self._known.setdefault((network.version, shift), set()).add(int(network.network_address) >> shift)

    def __contains__(self, address: str) -> bool:
        parsed = ipaddress.ip_address(address)
        number, version = int(parsed), parsed.version
        return any(of == version and number >> shift in known for (of, shift), known in self._known.items())
