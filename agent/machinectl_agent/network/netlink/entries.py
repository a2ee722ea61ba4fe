"""Forwarding entries (FDB) and neighbour entries: what says behind which VTEP a MAC is, and whose MAC an address is.

Traps, all seen on real kernels: a bridge takes PERMANENT for "the bridge's own MAC", static is NOARP; VXLAN wants one
of PERMANENT and REACHABLE, and ages what is neither PERMANENT nor NOARP. NOARP|REACHABLE is right for both, so that
one request (SELF|MASTER) serves the bridge and the VXLAN device. `del` with SELF|MASTER stops at the first that
is missing: two requests. A second append of a flood entry is taken silently and changes nothing.
"""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import dataclass, field
from typing import Dict, NamedTuple, Set, Tuple

from machinectl_agent.network.netlink import codecs
from machinectl_agent.network.netlink.codecs import NeighbourMessage
from machinectl_agent.network.netlink.sockets import Netlink

ANY_MAC = "00:00:00:00:00:00"
"""Whose entries of a VXLAN device are where broadcast, multicast and unknown MACs go."""

IGNORED = frozenset({errno.ENOENT, errno.EAFNOSUPPORT})
"""Answers to a drop of what is gone, and to any neighbour entry where the host has no IPv6 at all."""

_REACHABLE, _NOARP, _PERMANENT = 0x02, 0x40, 0x80
_SELF, _MASTER = 2, 4
_DST, _LLADDR, _MASTER_INDEX = 1, 2, 9


@dataclass
class Entries:
    """What a VXLAN device and its bridge have."""

    remote: Dict[str, Set[str]] = field(default_factory=dict)
    """MAC → VTEPs, of the VXLAN device itself."""
    bridged: Set[str] = field(default_factory=set)
    """MACs that the bridge sends to the VXLAN device."""
    neighbours: Dict[str, str] = field(default_factory=dict)
    """Address → MAC, what the VXLAN device answers ARP and ND with."""
    local: Dict[str, int] = field(default_factory=dict)
    """MAC → index of the port that the bridge sends it to; static ones."""
    learned: Set[Tuple[str, str]] = field(default_factory=set)
    """(MAC or address, where) of entries that nobody programmed."""


def entries(netlink: Netlink, vxlan: int) -> Entries:
    found = Entries()
    forwarding = codecs.request(NeighbourMessage, codecs.GET_NEIGHBOUR, 0, [], family=codecs.BRIDGE)
    for entry in netlink.dump(forwarding, _read):
        _take_forwarding(found, entry, vxlan)
    for family in (socket.AF_INET, socket.AF_INET6):
        wanted = codecs.request(NeighbourMessage, codecs.GET_NEIGHBOUR, 0, [], family=family)
        for entry in netlink.dump(wanted, _read):
            _take_neighbour(found, entry, vxlan)
    return found


def put_remote(vxlan: int, mac: str, vtep: str, *, bridged: bool = True) -> bytearray:
    """A MAC behind a VTEP, wherever it was before. `bridged`: the bridge sends it there too."""
    return _forwarding(
        codecs.NEW_NEIGHBOUR,
        codecs.CREATE | codecs.REPLACE,
        vxlan,
        mac,
        vtep,
        state=_NOARP | _REACHABLE,
        flags=_SELF | (_MASTER if bridged else 0),
    )


def drop_remote(vxlan: int, mac: str, vtep: str) -> bytearray:
    """Only if it is behind this VTEP."""
    return _forwarding(codecs.DELETE_NEIGHBOUR, 0, vxlan, mac, vtep, flags=_SELF)


def put_flood(vxlan: int, vtep: str) -> bytearray:
    return _forwarding(
        codecs.NEW_NEIGHBOUR,
        codecs.CREATE | codecs.APPEND,
        vxlan,
        ANY_MAC,
        vtep,
        state=_NOARP | _PERMANENT,
        flags=_SELF,
    )


def put_bridged(port: int, mac: str) -> bytearray:
    """The bridge sends the MAC to this port, wherever it sent it before."""
    flags = codecs.CREATE | codecs.REPLACE
    return _forwarding(codecs.NEW_NEIGHBOUR, flags, port, mac, "", state=_NOARP, flags=_MASTER)


def drop_bridged(port: int, mac: str) -> bytearray:
    """Only if it is sent to this port."""
    return _forwarding(codecs.DELETE_NEIGHBOUR, 0, port, mac, "", flags=_MASTER)


def put_neighbour(vxlan: int, address: str, mac: str) -> bytearray:
    return codecs.request(
        NeighbourMessage,
        codecs.NEW_NEIGHBOUR,
        codecs.CREATE | codecs.REPLACE,
        [("NDA_DST", address), ("NDA_LLADDR", mac)],
        family=_family(address),
        ifindex=vxlan,
        state=_PERMANENT,
    )


def drop_neighbour(vxlan: int, address: str) -> bytearray:
    return codecs.request(
        NeighbourMessage,
        codecs.DELETE_NEIGHBOUR,
        0,
        [("NDA_DST", address)],
        family=_family(address),
        ifindex=vxlan,
    )


def _forwarding(
    kind: int, how: int, index: int, mac: str, vtep: str, *, flags: int, state: int = 0
) -> bytearray:
    attributes = [("NDA_LLADDR", mac)]
    if vtep:
        attributes.append(("NDA_DST", vtep))
    return codecs.request(
        NeighbourMessage, kind, how, attributes, family=codecs.BRIDGE, ifindex=index, state=state, flags=flags
    )


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class _Entry(NamedTuple):
    """struct ndmsg, and the attributes that matter here; "" for one that is missing."""

    link: int
    state: int
    flags: int
    target: str
    mac: str
    mastered: bool


def _read(buffer: bytes, offset: int) -> _Entry:
    link, state, flags = struct.unpack_from("=4xiHB", buffer, offset + 16)
    told = codecs.raw_attributes(buffer, offset, 12)
    target = told.get(_DST, b"")
    family = {4: socket.AF_INET, 16: socket.AF_INET6}.get(len(target))
    return _Entry(
        link=link,
        state=state,
        flags=flags,
        target=socket.inet_ntop(family, target) if family else "",
        mac=told.get(_LLADDR, b"").hex(":"),
        mastered=_MASTER_INDEX in told,
    )


def _take_forwarding(found: Entries, entry: _Entry, vxlan: int) -> None:
    if entry.mastered:
        if entry.state & _PERMANENT:
            return  # the port's own MAC
        if not entry.state & _NOARP:
            found.learned.add((entry.mac, "bridge"))
        elif entry.link == vxlan:
            found.bridged.add(entry.mac)
        else:
            found.local[entry.mac] = entry.link
    elif entry.link == vxlan and entry.flags & _SELF and entry.target:
        found.remote.setdefault(entry.mac, set()).add(entry.target)
        if not entry.state & (_NOARP | _PERMANENT):
            found.learned.add((entry.mac, "vxlan"))


def _take_neighbour(found: Entries, entry: _Entry, vxlan: int) -> None:
    if entry.link != vxlan or entry.state & _NOARP:
        return  # NOARP: the kernel's own, multicast groups
    found.neighbours[entry.target] = entry.mac
    if not entry.state & _PERMANENT:
        found.learned.add((entry.target, "neighbour"))
