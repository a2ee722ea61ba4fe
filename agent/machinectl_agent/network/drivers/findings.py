"""What differs between a network in the kernel and the truth, as sentences for a person. Changes nothing."""

from __future__ import annotations

from typing import Iterator, List, Mapping, Set

from machinectl_agent.network.drivers import device, interior
from machinectl_agent.network.drivers.forwarding import Forwarding
from machinectl_agent.network.drivers.interface import Peer, Wiring
from machinectl_agent.network.netlink import entries, links, routes
from machinectl_agent.network.netlink.entries import ANY_MAC, Entries
from machinectl_agent.network.netlink.links import Link
from machinectl_agent.network.netlink.sockets import Netlink
from machinectl_agent.network.paths import RESOLVER

MOST = 5
"""Names in one sentence; the rest is counted."""


def findings(netlink: Netlink, wiring: Wiring, peers: Mapping[str, Peer], port: int) -> List[str]:
    there = links.links(netlink)
    bridge, vxlan = there.get(interior.BRIDGE), there.get(interior.VXLAN)
    found = [f"{name} is missing" for name in (interior.BRIDGE, interior.VXLAN) if name not in there]
    if bridge is not None:
        found += _bridge(netlink, bridge, wiring)
    if vxlan is not None:
        found += [
            f"vxlan0: {name} is {vxlan.settings.get(name)}, must be {value}"
            for name, value in device.difference(vxlan, wiring, port).items()
        ]
    for one in there.values():
        if bridge is not None and (one.name == interior.VXLAN or interior.is_port(one.name)):
            found += _port(one, bridge, wiring)
    if vxlan is not None:
        there_now = entries.entries(netlink, vxlan.index)
        found += _entries(there_now, wiring, peers)
        macs = set(there_now.local.values())
        ports = interior.ports(there).values()
        found += _some("ports have no FDB entry of br0", {one.name for one in ports if one.index not in macs})
    return found


def _bridge(netlink: Netlink, bridge: Link, wiring: Wiring) -> Iterator[str]:
    if not bridge.up:
        yield "br0 is down"
    if bridge.mac != interior.BRIDGE_MAC:
        yield f"br0 has MAC {bridge.mac}, must be {interior.BRIDGE_MAC}: containers lose the DNS for a while"
    for name, value in links.differing(bridge.settings, interior.BRIDGE_SETTINGS).items():
        yield f"br0: {name} is {bridge.settings[name]}, must be {value}"
    if RESOLVER not in routes.addresses(netlink, bridge.index):
        yield f"br0 lacks the DNS's address {RESOLVER}"
    for subnet, _ in sorted(interior.resolver_routes(wiring) - routes.routes(netlink, bridge.index)):
        yield f"the route to {subnet} is missing: DNS answers don't reach the containers"


def _port(one: Link, bridge: Link, wiring: Wiring) -> Iterator[str]:
    if one.master != bridge.index:
        yield f"{one.name} is no port of br0"
    elif links.differing(one.port, interior.PORT_SETTINGS):
        yield f"br0 learns MACs from {one.name}"
    if not one.up:
        yield f"{one.name} is down"
    if one.mtu != wiring.mtu:
        yield f"{one.name} has MTU {one.mtu}, must be {wiring.mtu}"


def _entries(found: Entries, wiring: Wiring, peers: Mapping[str, Peer]) -> Iterator[str]:
    family = ":" in wiring.underlay
    others = {one.vtep for one in peers.values() if (":" in one.vtep) != family}
    yield from _some("peers have a VTEP of another address family than ours", others)
    if any(one.vtep == wiring.underlay for one in peers.values()):
        yield f"another machine says that it has our VTEP address {wiring.underlay}"
    truth = Forwarding()
    truth.replace(
        {name: one for name, one in peers.items() if one.vtep not in others and one.vtep != wiring.underlay}
    )
    remote, neighbours = truth.remote(), truth.neighbours()
    there = {mac: vteps for mac, vteps in found.remote.items() if mac != ANY_MAC}
    yield from _some("FDB entries of vxlan0 are missing", remote.keys() - there.keys())
    wrong = {mac for mac, vteps in there.items() if mac in remote and vteps != {remote[mac]}}
    yield from _some("FDB entries of vxlan0 have a wrong VTEP", wrong)
    yield from _some("FDB entries of vxlan0 are of no endpoint", there.keys() - remote.keys())
    yield from _some("FDB entries of br0 are missing", remote.keys() - found.bridged - found.local.keys())
    yield from _some("FDB entries of br0 are of no endpoint", found.bridged - remote.keys())
    flood = found.remote.get(ANY_MAC, set())
    yield from _some("flood entries are missing", truth.vteps() - flood)
    yield from _some("flood entries are of no machine in this network", flood - truth.vteps())
    yield from _some("neighbour entries are missing", neighbours.keys() - found.neighbours.keys())
    wrong = {one for one, mac in found.neighbours.items() if one in neighbours and neighbours[one] != mac}
    yield from _some("neighbour entries have a wrong MAC", wrong)
    yield from _some("neighbour entries are of no endpoint", found.neighbours.keys() - neighbours.keys())
    yield from _some("entries were learned, not programmed", {name for name, _ in found.learned})


def _some(what: str, names: Set[str]) -> Iterator[str]:
    if names:
        more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
        yield f"{what}: {', '.join(sorted(names)[:MOST])}{more}"
