"""Addresses and routes of a link."""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import Any, Optional, Set, Tuple

from machinectl_agent.network.netlink import codecs
from machinectl_agent.network.netlink.codecs import AddressMessage, RouteMessage
from machinectl_agent.network.netlink.sockets import Netlink

_LINK_SCOPE = 253
_MAIN = 254
_BOOT = 3
_UNICAST = 1
_THERE = frozenset({errno.EEXIST})
_NOT_THERE = frozenset({errno.EADDRNOTAVAIL})


def ensure_address(netlink: Netlink, index: int, address: str) -> bool:
    """An IPv4 address with /32; False where the link has it."""
    attributes = [("IFA_LOCAL", address), ("IFA_ADDRESS", address)]
    wanted = codecs.request(
        AddressMessage,
        codecs.NEW_ADDRESS,
        codecs.CREATE | codecs.EXCLUSIVE,
        attributes,
        family=socket.AF_INET,
        prefixlen=32,
        index=index,
    )
    return bool(netlink.run(wanted, ignore=_THERE))


def drop_address(netlink: Netlink, index: int, address: str) -> bool:
    """False where the link has not got it."""
    attributes = [("IFA_LOCAL", address)]
    wanted = codecs.request(
        AddressMessage,
        codecs.DELETE_ADDRESS,
        0,
        attributes,
        family=socket.AF_INET,
        prefixlen=32,
        index=index,
    )
    return bool(netlink.run(wanted, ignore=_NOT_THERE))


def addresses(netlink: Netlink, index: int) -> Set[str]:
    """IPv4 ones of the link."""
    wanted = codecs.request(AddressMessage, codecs.GET_ADDRESS, 0, [], family=socket.AF_INET)
    return set(netlink.dump(wanted, codecs.reader(AddressMessage, lambda one: _address(one, index))))


def put_route(netlink: Netlink, subnet: str, index: int, source: str = "") -> None:
    """An IPv4 subnet straight behind the link, whatever it was before."""
    network = ipaddress.IPv4Network(subnet, strict=False)
    attributes = [("RTA_DST", str(network.network_address)), ("RTA_OIF", index)]
    if source:
        attributes.append(("RTA_PREFSRC", source))
    wanted = codecs.request(
        RouteMessage,
        codecs.NEW_ROUTE,
        codecs.CREATE | codecs.REPLACE,
        attributes,
        family=socket.AF_INET,
        dst_len=network.prefixlen,
        table=_MAIN,
        proto=_BOOT,
        scope=_LINK_SCOPE,
        type=_UNICAST,
    )
    netlink.run(wanted)


def routes(netlink: Netlink, index: int) -> Set[Tuple[str, str]]:
    """(subnet, source) of the IPv4 routes over the link in the main table."""
    wanted = codecs.request(RouteMessage, codecs.GET_ROUTE, 0, [], family=socket.AF_INET)
    return set(netlink.dump(wanted, codecs.reader(RouteMessage, lambda one: _route(one, index))))


def _address(message: Any, index: int) -> Optional[str]:
    return message.get_attr("IFA_LOCAL") if message["index"] == index else None


def _route(message: Any, index: int) -> Optional[Tuple[str, str]]:
    if message["table"] != _MAIN or message.get_attr("RTA_OIF") != index:
        return None
    target = message.get_attr("RTA_DST") or "0.0.0.0"  # noqa: S104 - a default route, nothing is bound
    return f"{target}/{message['dst_len']}", message.get_attr("RTA_PREFSRC") or ""
