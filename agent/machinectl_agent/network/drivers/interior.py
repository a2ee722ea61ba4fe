"""Inside a network's namespace: what its kernel settings, bridge, VXLAN device and ports must be.

sysctls   IPv6 is on (the VXLAN device answers ND only with it) but nobody has an address of its own, so no router or
          neighbour discovery, no MLD, no DAD comes from us; nothing is forwarded; no netfilter is asked.
br0       no learning, no ageing, no spanning tree, no snooping: every entry is ours. Its MAC is fixed: else it
          changes with its ports, and containers would have the DNS's old one in their ARP tables.
"""

from __future__ import annotations

from typing import Dict, Mapping, Set, Tuple

from machinectl_agent.network.drivers.interface import Wiring
from machinectl_agent.network.netlink import entries, links, routes
from machinectl_agent.network.netlink.links import Link
from machinectl_agent.network.netlink.sockets import Netlink
from machinectl_agent.network.paths import RESOLVER

BRIDGE, VXLAN = "br0", "vxlan0"

BRIDGE_MAC = "02:4d:a9:fe:4d:35"
"""Containers' begin with 02:42; the rest is 169.254.77.53. It never crosses the overlay: the same on all machines."""

BRIDGE_SETTINGS: Mapping[str, int] = {
    "BR_FORWARD_DELAY": 0,
    "BR_STP_STATE": 0,
    "BR_AGEING_TIME": 0,
    "BR_MCAST_SNOOPING": 0,
}
PORT_SETTINGS: Mapping[str, int] = {"BRPORT_LEARNING": 0}

_SYSCTLS: Mapping[str, str] = {
    "ipv4/ip_forward": "0",
    # the containers' addresses are in no subnet of ours: a stricter value from the host would hide the DNS
    "ipv4/conf/all/arp_ignore": "0",
    "ipv4/conf/default/arp_ignore": "0",
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    "ipv6/conf/all/forwarding": "0",
    "ipv6/conf/all/disable_ipv6": "0",
    "ipv6/conf/default/disable_ipv6": "0",
    "ipv6/conf/default/addr_gen_mode": "1",
    "ipv6/conf/default/accept_ra": "0",
    "ipv6/conf/default/accept_dad": "0",
    "ipv6/conf/default/router_solicitations": "0",
    # of this namespace since Linux 5.3; before, such files exist in the host's only
    "bridge/bridge-nf-call-iptables": "0",
    "bridge/bridge-nf-call-ip6tables": "0",
    "bridge/bridge-nf-call-arptables": "0",
}


def settle() -> bool:
    """The sysctls, of the namespace that the calling thread is in. A file that this kernel lacks is no error."""
    changed = False
    for name, wanted in _SYSCTLS.items():
        path = f"/proc/sys/net/{name}"
        try:
            with open(path, encoding="ascii") as stream:
                if stream.read().strip() == wanted:
                    continue
            with open(path, "w", encoding="ascii") as stream:
                stream.write(wanted)
        except FileNotFoundError:
            continue
        changed = True
    return changed


def ensure_bridge(netlink: Netlink, wiring: Wiring) -> bool:
    """With the resolver's address, and routes that lead its answers to the containers."""
    found = links.link(netlink, BRIDGE)
    made = found is None
    if found is None:
        netlink.run(links.make("bridge", BRIDGE, BRIDGE_SETTINGS, address=BRIDGE_MAC, mtu=wiring.mtu))
        found = _link(netlink, BRIDGE)
    wrong = links.differing(found.settings, BRIDGE_SETTINGS)
    if wrong:
        # the spanning tree first, and apart: while it is on, the kernel refuses a delay of 0
        for name in sorted(wrong, key=lambda one: one != "BR_STP_STATE"):
            netlink.run(links.change_settings(found.index, "bridge", {name: wrong[name]}))
    plain = not found.up or found.mtu != wiring.mtu or found.mac != BRIDGE_MAC
    if plain:
        netlink.run(links.change(found.index, up=True, mtu=wiring.mtu, address=BRIDGE_MAC))
    loopback = _link(netlink, "lo")
    if not loopback.up:
        netlink.run(links.change(loopback.index, up=True))
    added = routes.ensure_address(netlink, found.index, RESOLVER)
    missing = resolver_routes(wiring) - routes.routes(netlink, found.index)
    for subnet, source in missing:
        routes.put_route(netlink, subnet, found.index, source)
    return made or bool(wrong) or plain or added or bool(missing)


def resolver_routes(wiring: Wiring) -> Set[Tuple[str, str]]:
    """IPv4 only: the resolver has no other address."""
    return {(subnet, RESOLVER) for subnet in wiring.subnets if ":" not in subnet}


def ensure_ports(netlink: Netlink, wiring: Wiring, macs: Mapping[str, str]) -> bool:
    """The VXLAN device and all containers' ports as ports of the bridge. `macs`: port name → MAC behind it, of those
    that are known."""
    there = links.links(netlink)
    bridge = there[BRIDGE]
    changed = False
    known = entries.entries(netlink, there[VXLAN].index).local if macs else {}
    for one in there.values():
        if one.name == VXLAN or is_port(one.name):
            changed = enslave(netlink, one, bridge.index, wiring.mtu) or changed
            mac = macs.get(one.name)
            if mac and known.get(mac) != one.index:
                netlink.run(entries.put_bridged(one.index, mac))
                changed = True
    return changed


def enslave(netlink: Netlink, one: Link, bridge: int, mtu: int) -> bool:
    requests = []
    if one.mtu != mtu or one.master != bridge:
        requests.append(links.change(one.index, master=bridge, mtu=mtu))
    if one.master != bridge or not one.up or links.differing(one.port, PORT_SETTINGS):
        requests.append(links.change_port(one.index, PORT_SETTINGS))
    if requests:
        netlink.run(*requests)
    return bool(requests)


def port_name(endpoint: str) -> str:
    return f"p{endpoint[:12]}"


def host_name(endpoint: str) -> str:
    """Of the container's end, until Docker moves it."""
    return f"mc{endpoint[:12]}"


def is_port(name: str) -> bool:
    return len(name) == 13 and name.startswith("p")


def ports(found: Mapping[str, Link]) -> Dict[str, Link]:
    """By short endpoint id."""
    return {name[1:]: one for name, one in found.items() if is_port(name)}


def _link(netlink: Netlink, name: str) -> Link:
    found = links.link(netlink, name)
    if found is None:
        raise FileNotFoundError(2, "the link went while it was being made", name)
    return found
