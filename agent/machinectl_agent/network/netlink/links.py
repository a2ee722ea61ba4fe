"""Links as the kernel has them, and the requests that make, change and delete them."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional

from machinectl_agent.network.netlink import codecs
from machinectl_agent.network.netlink.codecs import LinkMessage
from machinectl_agent.network.netlink.sockets import Netlink, Refused

UP = 1
"""IFF_UP."""
_SKIP_STATISTICS = 8
"""RTEXT_FILTER_SKIP_STATS: half of an answer's bytes."""
_GONE = frozenset({errno.ENODEV})


@dataclass(frozen=True)
class Link:
    """A link; `settings` are its kind's own, `port` those that it has as a port of a bridge: kernel names without
    their prefix (`VXLAN_ID`, `BR_STP_STATE`, `BRPORT_LEARNING`)."""

    index: int
    name: str
    kind: str
    mac: str
    mtu: int
    up: bool
    master: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    port: Mapping[str, Any] = field(default_factory=dict)


def links(netlink: Netlink) -> Dict[str, Link]:
    """All of the namespace, by name."""
    wanted = codecs.request(LinkMessage, codecs.GET_LINK, 0, [("IFLA_EXT_MASK", _SKIP_STATISTICS)])
    return {one.name: one for one in netlink.dump(wanted, _READ)}


def link(netlink: Netlink, name: str) -> Optional[Link]:
    attributes = [("IFLA_IFNAME", name), ("IFLA_EXT_MASK", _SKIP_STATISTICS)]
    try:
        return netlink.get(codecs.request(LinkMessage, codecs.GET_LINK, 0, attributes), _READ)
    except Refused as error:
        if error.errno == errno.ENODEV:
            return None
        raise


def make(kind: str, name: str, settings: Mapping[str, Any], **more: Any) -> bytearray:
    """`more`: attributes of the link itself, as `change` takes them."""
    told = _prefixed(settings)
    inner: List[Any] = [["IFLA_INFO_KIND", kind]]
    if told:
        inner.append(["IFLA_INFO_DATA", {"attrs": told}])
    attributes = [("IFLA_IFNAME", name), *_plain(more), ("IFLA_LINKINFO", {"attrs": inner})]
    flags = codecs.CREATE | codecs.EXCLUSIVE
    return codecs.request(LinkMessage, codecs.NEW_LINK, flags, attributes)


def make_veth(name: str, peer: str, peer_namespace: int, *, mac: str, mtu: int) -> bytearray:
    """`name` where the socket is, `peer` in the namespace of that descriptor; both in one go."""
    other = {
        "attrs": [["IFLA_IFNAME", peer], ["IFLA_MTU", mtu], ["IFLA_NET_NS_FD", peer_namespace]],
    }
    inner = [["IFLA_INFO_KIND", "veth"], ["IFLA_INFO_DATA", {"attrs": [["VETH_INFO_PEER", other]]}]]
    attributes = [
        ("IFLA_IFNAME", name),
        ("IFLA_ADDRESS", mac),
        ("IFLA_MTU", mtu),
        ("IFLA_LINKINFO", {"attrs": inner}),
    ]
    return codecs.request(LinkMessage, codecs.NEW_LINK, codecs.CREATE | codecs.EXCLUSIVE, attributes)


def change(index: int, *, up: Optional[bool] = None, **more: Any) -> bytearray:
    """`more`: mtu (bytes), address (MAC), master (index), ifname."""
    fields = {} if up is None else {"flags": UP if up else 0, "change": UP}
    return codecs.request(LinkMessage, codecs.NEW_LINK, 0, _plain(more), index=index, **fields)


def change_settings(index: int, kind: str, settings: Mapping[str, Any]) -> bytearray:
    inner = [["IFLA_INFO_KIND", kind], ["IFLA_INFO_DATA", {"attrs": _prefixed(settings)}]]
    return codecs.request(LinkMessage, codecs.NEW_LINK, 0, [("IFLA_LINKINFO", {"attrs": inner})], index=index)


def change_port(index: int, port: Mapping[str, Any], *, up: bool = True) -> bytearray:
    """What a bridge does with a port of it. The link has its master already."""
    inner = [["IFLA_INFO_SLAVE_KIND", "bridge"], ["IFLA_INFO_SLAVE_DATA", {"attrs": _prefixed(port)}]]
    fields = {"flags": UP if up else 0, "change": UP}
    attributes = [("IFLA_LINKINFO", {"attrs": inner})]
    return codecs.request(LinkMessage, codecs.NEW_LINK, 0, attributes, index=index, **fields)


def delete(netlink: Netlink, name: str) -> bool:
    """False where there was none."""
    wanted = codecs.request(LinkMessage, codecs.DELETE_LINK, 0, [("IFLA_IFNAME", name)])
    return bool(netlink.run(wanted, ignore=_GONE))


def clear(netlink: Netlink) -> None:
    """Deletes all but the loopback."""
    for name in links(netlink):
        if name != "lo":
            delete(netlink, name)


def differing(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Dict[str, Any]:
    """What of `wanted` is otherwise; a setting that this kernel does not tell of is none of its."""
    return {name: value for name, value in wanted.items() if found.get(name, value) != value}


def _plain(more: Mapping[str, Any]) -> List[Any]:
    return [(f"IFLA_{name.upper()}", value) for name, value in more.items()]


def _prefixed(settings: Mapping[str, Any]) -> List[Any]:
    return [[f"IFLA_{name}", value] for name, value in settings.items()]


def _read(message: Any) -> Link:
    info = message.get_attr("IFLA_LINKINFO")
    return Link(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        kind=(info and info.get_attr("IFLA_INFO_KIND")) or "",
        mac=message.get_attr("IFLA_ADDRESS") or "",
        mtu=message.get_attr("IFLA_MTU") or 0,
        up=bool(message["flags"] & UP),
        master=message.get_attr("IFLA_MASTER") or 0,
        settings=_settings(info, "IFLA_INFO_DATA", ("vxlan", "bridge"), "IFLA_INFO_KIND"),
        port=_settings(info, "IFLA_INFO_SLAVE_DATA", ("bridge",), "IFLA_INFO_SLAVE_KIND"),
    )


def _settings(info: Any, place: str, kinds: Any, kind: str) -> Dict[str, Any]:
    if info is None or info.get_attr(kind) not in kinds:
        return {}
    inner = info.get_attr(place)
    if inner is None:
        return {}
    return {name[len("IFLA_") :]: value for name, value in _scalars(inner)}


def _scalars(inner: Any) -> List[Any]:
    wanted = (
        "IFLA_VXLAN_ID", "IFLA_VXLAN_PORT", "IFLA_VXLAN_LOCAL", "IFLA_VXLAN_LOCAL6", "IFLA_VXLAN_LEARNING",
        "IFLA_VXLAN_PROXY", "IFLA_VXLAN_TTL", "IFLA_VXLAN_UDP_CSUM",
        "IFLA_BR_FORWARD_DELAY", "IFLA_BR_AGEING_TIME", "IFLA_BR_STP_STATE", "IFLA_BR_MCAST_SNOOPING",
        "IFLA_BRPORT_LEARNING", "IFLA_BRPORT_STATE",
    )  # fmt: skip
    # only these: decoding all of a bridge's settings takes ten times as long
    return [(name, inner.get_attr(name)) for name in wanted if inner.get_attr(name) is not None]


_READ = codecs.reader(LinkMessage, _read)
