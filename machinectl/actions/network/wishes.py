"""What `network create` was asked for, checked before any connection, as the network service takes it. Pure."""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from machinectl.errors import UsageError

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
"""Docker's rule for what it calls restricted names."""

LONGEST = 63
"""Characters of a DNS label: containers are found as NAME.NETWORK."""

TAKEN = ("bridge", "host", "none", "default", "container", "docker_gwbridge", "ingress")
"""Docker's own networks, and its words for --network."""

SMALLEST_MTU, LARGEST_MTU = 576, 65485
"""RFC 791's least for IPv4; an interface's most less VXLAN's headers."""

Net = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class NetworkWish:
    """A network as the flags describe it."""

    name: str
    subnets: tuple[str, ...] = ()
    ranges: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    mtu: int = 0
    internal: bool = False
    ipv6: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    on: tuple[str, ...] = ()
    """Names of machines; empty: all members."""

    def to_args(self) -> dict[str, Any]:
        """The arguments of the verb `create`."""
        return {
            "name": self.name,
            "subnets": list(self.subnets),
            "ranges": list(self.ranges),
            "gateways": list(self.gateways),
            "mtu": self.mtu,
            "internal": self.internal,
            "ipv6": self.ipv6,
            "labels": dict(self.labels),
            "options": dict(self.options),
            "on": list(self.on),
        }


def make_wish(
    name: str,
    *,
    subnets: Sequence[str] = (),
    ranges: Sequence[str] = (),
    gateways: Sequence[str] = (),
    mtu: int = 0,
    internal: bool = False,
    ipv6: bool = False,
    labels: Sequence[str] = (),
    options: Sequence[str] = (),
    on: Sequence[str] = (),
) -> NetworkWish:
    """Texts as they were typed → the wish, each subnet in its canonical form. Raises `UsageError`."""
    check_name(name)
    nets = [_network("--subnet", one) for one in subnets]
    _check_subnets(nets)
    inner = [_network("--ip-range", one) for one in ranges]
    for part in inner:
        _owner(f"--ip-range {part}", nets, part)
    doors = [_address("--gateway", one) for one in gateways]
    for door in doors:
        net = _owner(f"--gateway {door}", nets, ipaddress.ip_network(door))
        if net.num_addresses > 2 and door in (net.network_address, net[-1]):
            raise UsageError(
                f"--gateway {door}: this address means the subnet {net} itself or all of it",
                hint=f"give another one, such as {net[1]}",
            )
    for flag, found in (("--ip-range", inner), ("--gateway", [ipaddress.ip_network(one) for one in doors])):
        owners = [_owner(flag, nets, one) for one in found]
        if len(set(owners)) < len(owners):
            raise UsageError(f"{flag} is given twice for one subnet")
    if mtu and not SMALLEST_MTU <= mtu <= LARGEST_MTU:
        raise UsageError(f"--mtu {mtu}: a number from {SMALLEST_MTU} to {LARGEST_MTU} is wanted")
    if mtu and mtu < 1280 and (ipv6 or any(net.version == 6 for net in nets)):
        raise UsageError(f"--mtu {mtu}: IPv6 needs at least 1280", hint="leave --mtu out, or IPv6")
    return NetworkWish(
        name=name,
        subnets=tuple(str(one) for one in nets),
        ranges=tuple(str(one) for one in inner),
        gateways=tuple(str(one) for one in doors),
        mtu=mtu,
        internal=internal,
        ipv6=ipv6,
        labels=_pairs("--label", labels),
        options=_pairs("--opt", options),
        on=tuple(on),
    )


def check_name(name: str) -> None:
    """Raises `UsageError`."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name for a network",
            why="allowed are letters, digits, _ . and -, the first one a letter or digit",
        )
    if len(name) > LONGEST:
        raise UsageError(f"a network's name has at most {LONGEST} characters, {name[:20]}… has {len(name)}")
    if name in TAKEN:
        raise UsageError(f"{name!r} is a name of Docker's own", hint="choose another one")


def match_machines(patterns: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """--on's shell patterns → the machines. Raises `UsageError` for one that fits none."""
    found: dict[str, None] = {}
    for pattern in patterns:
        fitting = fnmatch.filter(names, pattern)
        if not fitting:
            raise UsageError(
                f"--on {pattern}: no member is called that", why=f"members are {', '.join(names) or 'none'}"
            )
        found.update(dict.fromkeys(fitting))
    return tuple(found)


def _check_subnets(nets: Sequence[Net]) -> None:
    for index, net in enumerate(nets):
        for other in nets[:index]:
            if net.version == other.version and net.overlaps(other):
                raise UsageError(f"--subnet {net} overlaps --subnet {other}")
        if net.prefixlen > net.max_prefixlen - 2:
            raise UsageError(
                f"--subnet {net}: too small for a network", hint=f"at most /{net.max_prefixlen - 2}"
            )
        if net.is_multicast or net.is_loopback or net.is_link_local or net.is_unspecified:
            raise UsageError(f"--subnet {net}: no container can have an address from there")


def _network(flag: str, text: str) -> Net:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise UsageError(
            f"{flag} {text}: no network", why=str(error), hint=f"write {flag} {_suggested(text)}"
        ) from None


def _suggested(text: str) -> str:
    try:
        found = str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        return "10.77.1.0/24"
    return found


def _address(flag: str, text: str) -> Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise UsageError(f"{flag} {text}: no address", hint=f"write {flag} 10.77.1.1") from None


def _owner(flag: str, nets: Sequence[Net], part: Net) -> Net:
    """The subnet that holds the part."""
    for net in nets:
        if net.version == part.version and part.subnet_of(net):  # type: ignore[arg-type] # same version
            return net
    shown = ", ".join(str(net) for net in nets)
    raise UsageError(
        f"{flag}: it lies in none of the subnets" if nets else f"{flag} needs a --subnet",
        why=f"given are {shown}" if nets else "",
        hint="" if nets else "add --subnet CIDR",
    )


def _pairs(flag: str, texts: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        key, _, value = text.partition("=")
        if not key:
            raise UsageError(f"{flag} {text}: KEY=VALUE is wanted")
        pairs[key] = value
    return pairs
