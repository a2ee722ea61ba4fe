"""Arithmetic of subnets and addresses; pure. Addresses are integers here, texts at the edges."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Iterator, List, Optional, Sequence, Tuple, Union

from machinectl_agent.network.registry.errors import BadSubnet

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

DEFAULT_POOLS = ("10.77.0.0/16", "fd77:6d63:746c::/48")
"""Where subnets are chosen from; the latter is a ULA prefix (RFC 4193), as "mctl" spells in hex."""

IPV6_SIZE = 64
"""Prefix length of a chosen IPv6 subnet."""


@dataclass(frozen=True)
class Block:
    """A subnet and the part of it that addresses are chosen from, both ends included."""

    subnet: Network
    range: Network
    first: int
    last: int

    @property
    def count(self) -> int:
        return self.last - self.first + 1

    def text(self, number: int) -> str:
        return str(self.subnet.network_address + (number - int(self.subnet.network_address)))

    def number(self, address: str) -> int:
        """Raises BadSubnet for what is no address that a host can have in this subnet."""
        try:
            found = ipaddress.ip_address(address.partition("/")[0])
        except ValueError as error:
            raise BadSubnet(f"{address} is no IP address", why=str(error)) from error
        if found.version != self.subnet.version or found not in self.subnet:
            raise BadSubnet(
                f"{found} is not in {self.subnet}", hint="choose an address of the network's subnet"
            )
        first, last = _usable(self.subnet)
        if not first <= int(found) <= last:
            raise BadSubnet(
                f"{found} can't be used",
                why=f"it is the network's or the broadcast address of {self.subnet}",
                hint=f"choose one from {self.text(first)} to {self.text(last)}",
            )
        return int(found)


def block(subnet: str, inner: str = "") -> Block:
    """Host bits of a subnet are dropped, as Docker does. Raises BadSubnet."""
    outer = _network(subnet, "subnet")
    if outer.num_addresses < 4:
        raise BadSubnet(
            f"subnet {outer} is too small",
            why="it has no room for a gateway and a container",
            hint="use /30 or wider",
        )
    if outer.is_multicast or outer.is_loopback or outer.is_link_local or outer.is_unspecified:
        raise BadSubnet(
            f"subnet {outer} can't be used", why="it is reserved", hint="use a private one: 10.77.1.0/24"
        )
    chosen = _network(inner, "range") if inner else outer
    if chosen.version != outer.version or not chosen.subnet_of(outer):  # type: ignore[arg-type]
        raise BadSubnet(f"the range {chosen} is not inside of the subnet {outer}")
    first, last = _usable(outer)
    first = max(first, int(chosen.network_address))
    last = min(last, int(chosen.broadcast_address))
    if first > last:
        raise BadSubnet(f"the range {chosen} has no usable address of {outer}")
    return Block(outer, chosen, first, last)


def overlapping(subnet: Network, others: Sequence[Network]) -> Optional[Network]:
    """The first of the others that shares an address with it."""
    return next((one for one in others if one.version == subnet.version and one.overlaps(subnet)), None)


def choose(pools: Sequence[str], length: int, taken: Sequence[Network], *, v6: bool) -> Optional[Network]:
    """The lowest free subnet of this prefix length."""
    for text in pools:
        pool = _network(text, "default pool")
        if (pool.version == 6) != v6:
            continue
        wanted = max(IPV6_SIZE if v6 else length, pool.prefixlen)
        found = next(_free(pool, wanted, taken), None)
        if found is not None:
            return found
    return None


def networks(texts: Sequence[str]) -> List[Network]:
    """Those that are networks; a default route is none that could be avoided."""
    found = []
    for text in texts:
        try:
            one = ipaddress.ip_network(text, strict=False)
        except ValueError:
            continue
        if one.prefixlen:
            found.append(one)
    return found


def _free(pool: Network, length: int, taken: Sequence[Network]) -> Iterator[Network]:
    size = 1 << (pool.max_prefixlen - length)
    start, end = int(pool.network_address), int(pool.broadcast_address)
    while start + size - 1 <= end:
        candidate = type(pool)((start, length))
        hit = overlapping(candidate, taken)
        if hit is None:
            yield candidate
            start += size
        else:
            # behind what is in the way, however wide it is
            behind = max(int(hit.broadcast_address) + 1, start + size)
            start += -(-(behind - start) // size) * size


def _usable(subnet: Network) -> Tuple[int, int]:
    first, last = int(subnet.network_address) + 1, int(subnet.broadcast_address)
    # IPv6 has no broadcast address; its first is that of all routers (RFC 4291, 2.6.1)
    return first, last if subnet.version == 6 else last - 1


def _network(text: str, what: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise BadSubnet(f"{text} is no {what}", why=str(error), hint="write it as 10.77.1.0/24") from error
