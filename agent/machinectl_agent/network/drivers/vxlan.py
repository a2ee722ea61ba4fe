"""The VXLAN data plane (RFC 7348): static entries in the kernel for what etcd says, nothing is learned or flooded for.

    host's namespace                     namespace mctl-<network>                   container
                                        ┌──────────────────────────────┐
    underlay ◄── UDP 4789 ◄─────────────┤ vxlan0 ── br0 ── p<endpoint> ├── veth ──── eth0
    (socket made here, so it stays)     │   static FDB, ARP/ND proxy   │
                                        │   br0: 169.254.77.53 (DNS)   │
                                        └──────────────────────────────┘

A namespace for each network keeps the host's FORWARD chain, its bridge netfilter and its link names out of it.
"""

from __future__ import annotations

import os
import socket
import threading
from typing import Callable, Dict, List, Mapping, Set, Tuple, TypeVar

from machinectl_agent.network.drivers.interface import Peer, Wiring
from machinectl_agent.network.netlink import links, namespaces
from machinectl_agent.network.netlink import network as inner
from machinectl_agent.network.settings import RESOLVER
from machinectl_agent.problems import Problem

Result = TypeVar("Result")

PREFIX = "mctl-"


class Vxlan:
    """A Dataplane."""

    def __init__(self, port: int = 4789, folder: str = "/run/netns") -> None:
        self._port = port
        self._folder = folder
        self._lock = threading.Lock()
        self._mtus: Dict[str, int] = {}

    def networks(self) -> Set[str]:
        return {name[len(PREFIX) :] for name in namespaces.names(self._folder, PREFIX)}

    def ensure_network(self, wiring: Wiring) -> bool:
        path, made = self._path(wiring.network), False
        with self._lock:
            if not namespaces.is_namespace(path):
                namespaces.create(self._folder, PREFIX + wiring.network[:12])
                made = True
            self._mtus[wiring.network[:12]] = wiring.mtu
            made = self._inside(wiring.network, lambda ip: inner.make_bridge(ip, wiring, RESOLVER)) or made
            made = self._ensure_vxlan(wiring) or made
        return made

    def remove_network(self, network: str) -> None:
        with self._lock:
            self._mtus.pop(network[:12], None)
            path = self._path(network)
            if namespaces.is_namespace(path):
                # devices first: a process in the namespace would keep them, and the VNI with them
                self._inside(network, _clear)
            namespaces.remove(self._folder, PREFIX + network[:12])

    def attach(self, network: str, endpoint: str, mac: str) -> str:
        port, name = f"p{endpoint[:12]}", f"mc{endpoint[:12]}"
        mtu = self._mtus[network[:12]]

        def enslave(ip: object) -> None:
            number, bridge = links.index(ip, port), links.index(ip, inner.BRIDGE)
            ip.link("set", index=number, master=bridge, mtu=mtu, state="up")  # type: ignore[attr-defined]
            ip.brport("set", index=number, learning=0)  # type: ignore[attr-defined]
            links.ignore(
                links.EXISTS,
                ip.fdb,
                "add",
                ifindex=number,
                lladdr=mac,
                state=links.NOARP,
                flags=links.MASTER,  # type: ignore[attr-defined]
            )

        with links.netlink() as ip:
            there = links.index(ip, name)
            if not there:
                self._inside(network, lambda own: links.delete_link(own, port))
                descriptor = os.open(self._path(network), os.O_RDONLY | os.O_CLOEXEC)
                try:
                    ip.link(
                        "add", ifname=name, kind="veth", address=mac, mtu=mtu,
                        peer={"ifname": port, "net_ns_fd": descriptor},
                    )  # fmt: skip
                finally:
                    os.close(descriptor)
        self._inside(network, enslave)
        return name

    def detach(self, network: str, endpoint: str) -> None:
        if namespaces.is_namespace(self._path(network)):
            self._inside(network, lambda ip: links.delete_link(ip, f"p{endpoint[:12]}"))
        with links.netlink() as ip:
            links.delete_link(ip, f"mc{endpoint[:12]}")

    def attached(self, network: str) -> Set[str]:
        def ports(ip: object) -> Set[str]:
            found = {one.get_attr("IFLA_IFNAME") for one in ip.get_links()}  # type: ignore[attr-defined]
            return {name[1:] for name in found if name.startswith("p") and len(name) == 13}

        return self._inside(network, ports) if namespaces.is_namespace(self._path(network)) else set()

    def set_peers(self, network: str, peers: Mapping[str, Peer]) -> int:
        return self._inside(network, lambda ip: inner.program(ip, peers))

    def put_peer(self, network: str, endpoint: str, peer: Peer) -> None:
        self._inside(network, lambda ip: inner.put(ip, peer))

    def drop_peer(self, network: str, endpoint: str, peer: Peer) -> None:
        self._inside(network, lambda ip: inner.drop(ip, peer))

    def listen(self, network: str) -> Tuple[socket.socket, socket.socket]:
        def bind() -> Tuple[socket.socket, socket.socket]:
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            for one in (udp, tcp):
                one.bind((RESOLVER, 53))
            tcp.listen(64)
            return udp, tcp

        return namespaces.inside(self._path(network), bind)

    def resolver_route(self, sandbox: str, endpoint_mac: str) -> None:
        def route() -> None:
            with links.netlink() as ip:
                for one in ip.get_links():
                    if one.get_attr("IFLA_ADDRESS") == endpoint_mac:
                        ip.route("replace", dst=f"{RESOLVER}/32", oif=one["index"], scope=253)

        namespaces.inside(sandbox, route)

    def findings(self, wiring: Wiring, peers: Mapping[str, Peer]) -> List[str]:
        return []

    def _ensure_vxlan(self, wiring: Wiring) -> bool:
        """Made in the host's namespace, then moved: its UDP socket stays where it was made."""
        network, made = wiring.network, False

        def stale(ip: object) -> bool:
            found = links.link(ip, inner.VXLAN)
            if found is not None and not inner.is_vxlan(found, wiring, self._port):
                links.delete_link(ip, inner.VXLAN)
                found = None
            return found is None

        if self._inside(network, stale):
            made = True
            temporary = f"mv{network[:12]}"
            with links.netlink() as ip:
                links.delete_link(ip, temporary)
                if not links.ignore(
                    links.EXISTS, ip.link, "add", ifname=temporary, **inner.vxlan_words(wiring, self._port)
                ):
                    raise Problem(
                        "vni-taken",
                        f"VNI {wiring.vni} on UDP {self._port} is taken on this host",
                        why="another program has a VXLAN device with it",
                        hint="`ip -d link show type vxlan` shows it",
                    )
                descriptor = os.open(self._path(network), os.O_RDONLY | os.O_CLOEXEC)
                try:
                    ip.link("set", index=links.index(ip, temporary), net_ns_fd=descriptor)
                finally:
                    os.close(descriptor)
            self._inside(
                network, lambda ip: ip.link("set", index=links.index(ip, temporary), ifname=inner.VXLAN)
            )
        return self._inside(network, lambda ip: inner.join_vxlan(ip, wiring)) or made

    def _inside(self, network: str, work: Callable[..., Result]) -> Result:
        def run() -> Result:
            with links.netlink() as ip:
                return work(ip)

        return namespaces.inside(self._path(network), run)

    def _path(self, network: str) -> str:
        return f"{self._folder}/{PREFIX}{network[:12]}"


def _clear(ip: object) -> None:
    for one in ip.get_links():  # type: ignore[attr-defined]
        name = one.get_attr("IFLA_IFNAME")
        if name != "lo":
            links.delete_link(ip, name)
