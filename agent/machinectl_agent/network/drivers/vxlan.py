"""The VXLAN data plane (RFC 7348): static entries in the kernel for what etcd says; nothing is learned.

    host's namespace                     namespace mctl-<network>                   container
                                        ┌──────────────────────────────┐
    underlay ◄── UDP 4789 ◄─────────────┤ vxlan0 ── br0 ── p<endpoint> ├── veth ──── eth0
    (the socket belongs here)           │   FDB, ARP and ND proxy      │
                                        │   br0: 169.254.77.53 (DNS)   │
                                        └──────────────────────────────┘

A namespace for each network keeps the host's FORWARD chain, its bridge netfilter and its link names out of it.
Containers go on talking while the agent is down or starts again: all state is the kernel's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import threading
from typing import Dict, Iterator, List, Mapping, Set, Tuple

from machinectl_agent.network.drivers import device, findings, interior, program
from machinectl_agent.network.drivers.forwarding import MAC
from machinectl_agent.network.drivers.interface import Peer, Wiring
from machinectl_agent.network.drivers.segment import Segment
from machinectl_agent.network.netlink import entries, links, namespaces, routes
from machinectl_agent.network.netlink.sockets import Netlink, Refused
from machinectl_agent.network.paths import RESOLVER

PREFIX = "mctl-"
_BACKLOG = 64
_TRIES = 10


class Vxlan:
    """A Dataplane. The host's namespace is that of the thread which makes it. Safe in threads, and beside another
    process that does the same."""

    def __init__(self, port: int = 4789, folder: str = "/run/netns") -> None:
        self._port = port
        self._folder = folder
        self._host = Netlink()
        self._lock = threading.Lock()
        self._segments: Dict[str, Segment] = {}

    def close(self) -> None:
        """The sockets; the kernel keeps all that was made."""
        with self._lock:
            for one in self._segments.values():
                one.close()
            self._segments.clear()
        self._host.close()

    def networks(self) -> Set[str]:
        found = {name[len(PREFIX) :] for name in namespaces.names(self._folder, PREFIX)}
        return {one for one in found if re.fullmatch(r"[0-9a-f]{12}", one)}

    def ensure_network(self, wiring: Wiring) -> bool:
        with self._segment(wiring.network) as segment:
            made = False
            for left in reversed(range(_TRIES)):
                made = namespaces.ensure(self._folder, _name(wiring.network), segment.lost()) or made
                try:
                    with namespaces.held(segment.path):
                        return self._ensure_inside(segment, wiring) or made
                except namespaces.Gone:
                    # another process removes what we make
                    if not left:
                        raise
        raise AssertionError("unreachable: the last try raises")

    def remove_network(self, network: str) -> None:
        with self._segment(network) as segment:
            with contextlib.suppress(namespaces.Gone), namespaces.held(segment.path):
                # links first: a socket or a process in the namespace would keep them, and the VNI with them
                links.clear(segment.netlink())
            namespaces.remove(self._folder, _name(network))
            segment.close()

    def attach(self, network: str, endpoint: str, mac: str) -> str:
        name, port = interior.host_name(endpoint), interior.port_name(endpoint)
        with self._segment(network) as segment:
            netlink = segment.netlink()
            ours, theirs = links.link(netlink, port), links.link(self._host, name)
            if ours is None or theirs is None:
                # a Join wants an interface that can be moved: the rest of an earlier one is of no use
                links.delete(netlink, port)
                links.delete(self._host, name)
                self._make_veth(segment, name, port, mac)
                ours = links.link(netlink, port)
            elif theirs.mac != mac or theirs.mtu != segment.mtu():
                self._host.run(links.change(theirs.index, address=mac, mtu=segment.mtu()))
            if ours is None:
                raise FileNotFoundError(errno.ENOENT, "the port went while it was being made", port)
            interior.enslave(netlink, ours, segment.bridge(), segment.mtu())
            netlink.run(entries.put_bridged(ours.index, mac))
            # a port that had it before is about to be detached, and must not get it back
            segment.macs = {one: known for one, known in segment.macs.items() if known != mac}
            segment.macs[port] = mac
            segment.local()[mac] = ours.index
        return name

    def detach(self, network: str, endpoint: str) -> None:
        port = interior.port_name(endpoint)
        with self._segment(network) as segment:
            segment.macs.pop(port, None)
            with contextlib.suppress(FileNotFoundError):
                ours = links.link(segment.netlink(), port)
                if ours is not None:
                    links.delete(segment.netlink(), port)  # and with it the other end, wherever that is
                    self._release(segment, ours.index)
            links.delete(self._host, interior.host_name(endpoint))

    def attached(self, network: str) -> Set[str]:
        with self._segment(network) as segment:
            try:
                return set(interior.ports(links.links(segment.netlink())))
            except FileNotFoundError:
                return set()

    def set_peers(self, network: str, peers: Mapping[str, Peer]) -> int:
        with self._segment(network) as segment, _fresh(segment):
            segment.tell(peers)
            return self._synchronise(segment)

    def put_peer(self, network: str, endpoint: str, peer: Peer) -> None:
        with self._segment(network) as segment, _fresh(segment):
            if not segment.reaches(peer):
                self._drop(segment, endpoint, peer)
                segment.told[endpoint] = peer
                return
            segment.told[endpoint] = peer
            changes = segment.forwarding.put(endpoint, peer)
            requests = program.requests(changes, segment.vxlan(), segment.local())
            segment.netlink().run(*requests, ignore=entries.IGNORED)

    def drop_peer(self, network: str, endpoint: str, peer: Peer) -> None:
        with self._segment(network) as segment, _fresh(segment):
            self._drop(segment, endpoint, peer)

    def listen(self, network: str) -> Tuple[socket.socket, socket.socket]:
        return namespaces.inside(self._path(network), _listen)

    def resolver_route(self, sandbox: str, endpoint_mac: str) -> None:
        with _interface(sandbox, endpoint_mac) as (netlink, one):
            routes.put_route(netlink, f"{RESOLVER}/32", one.index)

    def narrow(self, sandbox: str, endpoint_mac: str, mtu: int) -> bool:
        with _interface(sandbox, endpoint_mac) as (netlink, one):
            if one.mtu > mtu:
                netlink.run(links.change(one.index, mtu=mtu))
            return one.mtu > mtu

    def findings(self, wiring: Wiring, peers: Mapping[str, Peer]) -> List[str]:
        path = self._path(wiring.network)
        if not namespaces.is_namespace(path):
            return [f"namespace {_name(wiring.network)} is missing"]
        netlink = namespaces.open_netlink(path)
        try:
            return findings.findings(netlink, wiring, peers, self._port)
        finally:
            netlink.close()

    def _ensure_inside(self, segment: Segment, wiring: Wiring) -> bool:
        netlink = segment.netlink()
        settled = namespaces.inside(segment.path, interior.settle)
        bridge = interior.ensure_bridge(netlink, wiring)
        why = device.ensure(self._host, netlink, segment.path, wiring, self._port, self._owner)
        try:
            ports = interior.ensure_ports(netlink, wiring, segment.macs)
        except Refused as error:
            raise device.problem(error, wiring, self._port) from error
        segment.forget_links()
        if why is not None and segment.forwarding.whole:
            # nobody waits for the next set_peers: this keeps the interruption at some milliseconds
            segment.tell(dict(segment.told))
            self._synchronise(segment)
        return settled or bridge or why is not None or ports

    def _synchronise(self, segment: Segment) -> int:
        requests = program.difference(segment.forwarding, segment.entries(), segment.vxlan())
        segment.netlink().run(*requests, ignore=entries.IGNORED)
        return len(requests)

    def _release(self, segment: Segment, port: int) -> None:
        """A MAC of the port that went can live elsewhere by now, which was told before."""
        for mac in [mac for mac, index in segment.local().items() if index == port]:
            del segment.local()[mac]
            vtep = segment.forwarding.value((MAC, mac))
            if vtep:
                segment.netlink().run(entries.put_remote(segment.vxlan(), mac, vtep))

    def _drop(self, segment: Segment, endpoint: str, peer: Peer) -> None:
        segment.told.pop(endpoint, None)
        changes = segment.forwarding.drop(endpoint, peer)
        requests = program.requests(changes, segment.vxlan(), segment.local())
        segment.netlink().run(*requests, ignore=entries.IGNORED)

    def _make_veth(self, segment: Segment, name: str, port: str, mac: str) -> None:
        descriptor = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._host.run(links.make_veth(name, port, descriptor, mac=mac, mtu=segment.mtu()))
        finally:
            os.close(descriptor)

    def _owner(self, vni: int) -> str:
        """Who has this VNI, as far as can be seen."""
        for one in links.links(self._host).values():
            if one.settings.get("VXLAN_ID") == vni:
                return f"the link {one.name}"
        for network in self.networks():
            with contextlib.suppress(OSError):
                netlink = namespaces.open_netlink(self._path(network))
                try:
                    found = links.link(netlink, interior.VXLAN)
                finally:
                    netlink.close()
                if found and found.settings.get("VXLAN_ID") == vni:
                    return f"network {network}"
        return ""

    @contextlib.contextmanager
    def _segment(self, network: str) -> Iterator[Segment]:
        """Held. One that has no namespace is forgotten after its use."""
        short = network[:12]
        while True:
            with self._lock:
                segment = self._segments.setdefault(short, Segment(self._path(network)))
            with segment.lock:
                if self._segments.get(short) is not segment:
                    continue  # forgotten while we waited for it
                try:
                    yield segment
                finally:
                    if not segment.is_open():
                        with self._lock:
                            self._segments.pop(short, None)
                return

    def _path(self, network: str) -> str:
        return f"{self._folder}/{_name(network)}"


def _name(network: str) -> str:
    return PREFIX + network[:12]


@contextlib.contextmanager
def _fresh(segment: Segment) -> Iterator[None]:
    """After a refusal the links may be others than we know."""
    try:
        yield
    except Refused:
        segment.forget_links()
        raise


@contextlib.contextmanager
def _interface(sandbox: str, mac: str) -> Iterator[Tuple[Netlink, links.Link]]:
    """A container's, and a socket where it is."""
    netlink = namespaces.open_netlink(sandbox)
    try:
        found = next((one for one in links.links(netlink).values() if one.mac == mac), None)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, f"no interface has the MAC {mac}", sandbox)
        yield netlink, found
    finally:
        netlink.close()


def _listen() -> Tuple[socket.socket, socket.socket]:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # an answer that is still on its way must not keep a new start from listening
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for one in (udp, tcp):
            one.bind((RESOLVER, 53))
        tcp.listen(_BACKLOG)
    except BaseException:
        udp.close()
        tcp.close()
        raise
    return udp, tcp
