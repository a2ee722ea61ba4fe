"""Links, addresses, routes, forwarding and neighbour entries: the netlink calls, with the traps of each.

A socket is opened for each piece of work (0.3 ms) and closed after it: none outlives its namespace.
"""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import Any, Dict, Iterator, Optional, Set, Tuple

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

NOARP, PERMANENT = 0x40, 0x80
"""Neighbour states, rtnetlink(7)."""
SELF, MASTER = 2, 4
"""NTF_SELF: of the device itself (vxlan); NTF_MASTER: of the bridge that it is a port of."""
FLOOD = "00:00:00:00:00:00"
EXISTS, MISSING, NO_DEVICE = 17, 2, 19
_NOT_THERE = (MISSING, NO_DEVICE, 3, 95, 99, 101)


@contextmanager
def netlink() -> Iterator[Any]:
    """An rtnetlink socket in the namespace of the calling thread."""
    with IPRoute() as one:
        yield one


def index(ip: Any, name: str) -> int:
    """0 where there is no such link."""
    found = ip.link_lookup(ifname=name)
    return int(found[0]) if found else 0


def link(ip: Any, name: str) -> Optional[Any]:
    number = index(ip, name)
    try:
        return ip.link("get", index=number)[0] if number else None
    except NetlinkError as error:
        if error.code == NO_DEVICE:
            return None
        raise


def delete_link(ip: Any, name: str) -> None:
    number = index(ip, name)
    if not number:
        return
    try:
        ip.link("del", index=number)
    except NetlinkError as error:
        if error.code not in _NOT_THERE:
            raise


def ignore(code: int, call: Any, *arguments: Any, **more: Any) -> bool:
    """Whether the call did something; False where the kernel answered with this error."""
    try:
        call(*arguments, **more)
    except NetlinkError as error:
        if error.code == code:
            return False
        raise
    return True


def family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def remote_macs(ip: Any, vxlan: int) -> Set[Tuple[str, str]]:
    """(MAC, VTEP) of the VXLAN device's own forwarding entries."""
    found = set()
    for one in ip.fdb("dump", ifindex=vxlan):
        target = one.get_attr("NDA_DST")
        if one["ifindex"] == vxlan and one["flags"] & SELF and target:
            found.add((one.get_attr("NDA_LLADDR"), target))
    return found


def remote_macs_of(ip: Any, vxlan: int, mac: str) -> Set[Tuple[str, str]]:
    """The same of one MAC."""
    return {one for one in remote_macs(ip, vxlan) if one[0] == mac}


def bridge_macs(ip: Any, port: int) -> Set[str]:
    """MACs that the bridge forwards to a port, without the port's own."""
    found = set()
    for one in ip.fdb("dump", ifindex=port):
        if one["ifindex"] == port and one.get_attr("NDA_MASTER") and not one["state"] & PERMANENT:
            found.add(one.get_attr("NDA_LLADDR"))
    return found


def neighbours(ip: Any, device: int) -> Dict[str, str]:
    """Address → MAC of a device's permanent and noarp neighbour entries."""
    found = {}
    for kind in (socket.AF_INET, socket.AF_INET6):
        for one in ip.get_neighbours(family=kind, ifindex=device):
            mac = one.get_attr("NDA_LLADDR")
            if one["ifindex"] == device and one["state"] & PERMANENT and mac:
                found[one.get_attr("NDA_DST")] = mac
    return found
