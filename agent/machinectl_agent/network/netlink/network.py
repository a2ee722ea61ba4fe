"""One network's namespace: bridge, VXLAN device, ports. Functions here run inside of it unless they say otherwise."""

from __future__ import annotations

from typing import Any, Mapping

from machinectl_agent.network.drivers.interface import Peer, Wiring
from machinectl_agent.network.netlink import links

BRIDGE, VXLAN = "br0", "vxlan0"


def make_bridge(ip: Any, wiring: Wiring, resolver: str) -> bool:
    """The bridge with the resolver's address, and routes to the subnets so that the resolver's answers find the
    containers. No ageing, no spanning tree, no multicast snooping: every entry is ours."""
    made = False
    if not links.index(ip, BRIDGE):
        ip.link(
            "add", ifname=BRIDGE, kind="bridge",
            br_stp_state=0, br_forward_delay=0, br_ageing_time=0, br_mcast_snooping=0,
        )  # fmt: skip
        made = True
    bridge = links.index(ip, BRIDGE)
    ip.link("set", index=links.index(ip, "lo"), state="up")
    found = ip.link("get", index=bridge)[0]
    if found.get_attr("IFLA_MTU") != wiring.mtu or not found["flags"] & 1:
        ip.link("set", index=bridge, mtu=wiring.mtu, state="up")
        made = True
    made = links.ignore(links.EXISTS, ip.addr, "add", index=bridge, address=resolver, prefixlen=32) or made
    for subnet in wiring.subnets:
        if ":" not in subnet:
            made = (
                links.ignore(
                    links.EXISTS, ip.route, "add", dst=subnet, oif=bridge, prefsrc=resolver, scope=253
                )
                or made
            )
    return made


def is_vxlan(found: Any, wiring: Wiring, port: int) -> bool:
    """Whether the device is as it is wanted; a VXLAN's own settings can't be changed."""
    linkinfo = found.get_attr("IFLA_LINKINFO")
    attributes = linkinfo.get_attr("IFLA_INFO_DATA") if linkinfo else None
    if attributes is None:
        return False
    local = attributes.get_attr("IFLA_VXLAN_LOCAL6" if ":" in wiring.underlay else "IFLA_VXLAN_LOCAL")
    return bool(
        attributes.get_attr("IFLA_VXLAN_ID") == wiring.vni
        and attributes.get_attr("IFLA_VXLAN_PORT") == port
        and local == wiring.underlay
    )


def vxlan_words(wiring: Wiring, port: int) -> dict[str, Any]:
    local = (
        {"vxlan_local6": wiring.underlay, "vxlan_udp_csum": 1}
        if ":" in wiring.underlay
        else {"vxlan_local": wiring.underlay}
    )
    return {
        "kind": "vxlan", "vxlan_id": wiring.vni, "vxlan_port": port, "vxlan_learning": 0, "vxlan_proxy": 1,
        "vxlan_ttl": 64, **local,
    }  # fmt: skip


def join_vxlan(ip: Any, wiring: Wiring) -> bool:
    """The device, moved in already, as a port of the bridge."""
    found = links.link(ip, VXLAN)
    bridge = links.index(ip, BRIDGE)
    if (
        found.get_attr("IFLA_MASTER") == bridge
        and found["flags"] & 1
        and found.get_attr("IFLA_MTU") == wiring.mtu
    ):
        return False
    ip.link("set", index=found["index"], master=bridge, mtu=wiring.mtu, state="up")
    ip.brport("set", index=found["index"], learning=0)
    return True


def program(ip: Any, peers: Mapping[str, Peer]) -> int:
    """All entries of the peers, and none else; how many were changed."""
    vxlan = links.index(ip, VXLAN)
    wanted_remote = {(one.mac, one.vtep) for one in peers.values()} | {
        (links.FLOOD, one.vtep) for one in peers.values()
    }
    wanted_macs = {one.mac for one in peers.values()}
    wanted_neighbours = {address: one.mac for one in peers.values() for address in one.addresses}
    remote, macs, known = (
        links.remote_macs(ip, vxlan),
        links.bridge_macs(ip, vxlan),
        links.neighbours(ip, vxlan),
    )
    changes = 0
    for mac, vtep in remote - wanted_remote:
        changes += _drop_remote(ip, vxlan, mac, vtep)
    for mac, vtep in wanted_remote - remote:
        changes += _put_remote(ip, vxlan, mac, vtep)
    for mac in macs - wanted_macs:
        changes += links.ignore(links.MISSING, ip.fdb, "del", ifindex=vxlan, lladdr=mac, flags=links.MASTER)
    for mac in wanted_macs - macs:
        changes += _put_mac(ip, vxlan, mac)
    for address in set(known) - set(wanted_neighbours):
        changes += _drop_neighbour(ip, vxlan, address)
    for address, mac in wanted_neighbours.items():
        if known.get(address) != mac:
            changes += _put_neighbour(ip, vxlan, address, mac)
    return changes


def put(ip: Any, peer: Peer) -> None:
    vxlan = links.index(ip, VXLAN)
    for mac, vtep in links.remote_macs_of(ip, vxlan, peer.mac):
        if vtep != peer.vtep:
            _drop_remote(ip, vxlan, mac, vtep)
    _put_remote(ip, vxlan, peer.mac, peer.vtep)
    _put_remote(ip, vxlan, links.FLOOD, peer.vtep)
    _put_mac(ip, vxlan, peer.mac)
    for address in peer.addresses:
        _put_neighbour(ip, vxlan, address, peer.mac)


def _put_remote(ip: Any, vxlan: int, mac: str, vtep: str) -> bool:
    """`append`: the flood MAC has an entry for each VTEP. A MAC of a container has one: an old one was dropped."""
    kind = "append" if mac == links.FLOOD else "add"
    return links.ignore(
        links.EXISTS,
        ip.fdb,
        kind,
        ifindex=vxlan,
        lladdr=mac,
        dst=vtep,
        state=links.NOARP | links.PERMANENT,
        flags=links.SELF,
    )


def _drop_remote(ip: Any, vxlan: int, mac: str, vtep: str) -> bool:
    return links.ignore(links.MISSING, ip.fdb, "del", ifindex=vxlan, lladdr=mac, dst=vtep, flags=links.SELF)


def _put_mac(ip: Any, port: int, mac: str) -> bool:
    """NOARP: static; PERMANENT would make it the bridge's own address."""
    return links.ignore(
        links.EXISTS, ip.fdb, "add", ifindex=port, lladdr=mac, state=links.NOARP, flags=links.MASTER
    )


def _put_neighbour(ip: Any, vxlan: int, address: str, mac: str) -> bool:
    ip.neigh(
        "replace", ifindex=vxlan, dst=address, lladdr=mac, state=links.PERMANENT, family=links.family(address)
    )
    return True


def _drop_neighbour(ip: Any, vxlan: int, address: str) -> bool:
    return links.ignore(
        links.MISSING, ip.neigh, "del", ifindex=vxlan, dst=address, family=links.family(address)
    )


def drop(ip: Any, peer: Peer) -> None:
    """The flood entry stays while another MAC is behind the same VTEP."""
    vxlan = links.index(ip, VXLAN)
    _drop_remote(ip, vxlan, peer.mac, peer.vtep)
    links.ignore(links.MISSING, ip.fdb, "del", ifindex=vxlan, lladdr=peer.mac, flags=links.MASTER)
    for address in peer.addresses:
        _drop_neighbour(ip, vxlan, address)
    if not any(vtep == peer.vtep and mac != links.FLOOD for mac, vtep in links.remote_macs(ip, vxlan)):
        _drop_remote(ip, vxlan, links.FLOOD, peer.vtep)
