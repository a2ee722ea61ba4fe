"""The resolver's address on the host itself, for containers that are in no network of ours.

daemon.json's `dns` is theirs as well. Without the address here their questions would leave the host by its default
route, to whoever answers there; with it they are forwarded, and refused at once while the service is away.
"""

from __future__ import annotations

import socket
from typing import Callable, Tuple

from machinectl_agent.network.netlink import links, routes
from machinectl_agent.network.netlink.sockets import Netlink
from machinectl_agent.network.paths import RESOLVER

LOOPBACK = "lo"
_BACKLOG = 128


def listen() -> Tuple[socket.socket, socket.socket]:
    """UDP and TCP. Raises OSError: another server has port 53 on all addresses, and answers in our place then."""
    _with_loopback(lambda netlink, index: routes.ensure_address(netlink, index, RESOLVER))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for one in (udp, tcp):
            one.bind((RESOLVER, 53))
        tcp.listen(_BACKLOG)
    except BaseException:
        udp.close()
        tcp.close()
        raise
    return udp, tcp


def remove() -> None:
    """The address; no error where it is gone."""
    _with_loopback(lambda netlink, index: routes.drop_address(netlink, index, RESOLVER))


def _with_loopback(work: Callable[[Netlink, int], bool]) -> None:
    netlink = Netlink()
    try:
        found = links.link(netlink, LOOPBACK)
        if found:
            work(netlink, found.index)
    finally:
        netlink.close()
