"""The networks that this machine has containers in: their namespaces in the kernel, and their DNS sockets.

Kept in step with the view: incrementally as changes come, wholly at each snapshot. Programming that fails marks
the network, and the next reconcile programs it wholly.
"""

from __future__ import annotations

import threading
from typing import Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Set

from machinectl_agent.daemon.journal import Journal
from machinectl_agent.network import underlay
from machinectl_agent.network.dns.server import Server
from machinectl_agent.network.dns.zone import Zone
from machinectl_agent.network.drivers.interface import Dataplane, Peer, Wiring
from machinectl_agent.network.records import EndpointRecord, NetworkRecord
from machinectl_agent.network.view import Moved, View


class Fabric:
    """Safe in threads: dockerd's calls, the watch and the reconcile meet here."""

    def __init__(
        self, machine: str, view: View, zone: Zone, dns: Server, dataplane: Dataplane, journal: Journal
    ) -> None:
        self._machine = machine
        self._view = view
        self._zone = zone
        self._dns = dns
        self._dataplane = dataplane
        self._journal = journal
        self._lock = threading.Lock()
        self._locks: Dict[str, threading.RLock] = {}
        self._wirings: Dict[str, Wiring] = {}
        self._programmed: Dict[str, threading.Event] = {}
        self._marked: Set[str] = set()
        self._widths: Dict[str, int] = {}
        """Endpoint id → MTU that its container has at most."""
        self.vtep = ""
        """Our own underlay address."""
        self.follow_network: Callable[[str], None] = lambda _network: None
        self.unfollow_network: Callable[[str], None] = lambda _network: None
        """Starts and ends the watch of a network's endpoints, in one go with its coming and going here."""

    def local(self) -> Set[str]:
        """Ids of the networks that are in the kernel."""
        with self._lock:
            return set(self._wirings)

    def wiring(self, record: NetworkRecord) -> Wiring:
        mtu = underlay.container_mtu(record.mtu, self.vtep)
        return Wiring(record.id, record.vni, mtu, tuple(pool.subnet for pool in record.pools), self.vtep)

    def ensure(self, record: NetworkRecord, *, force: bool = False) -> None:
        """The namespace, its bridge and VXLAN, and the DNS in it. Cheap where they are there already; `force`
        looks at the kernel itself. Raises what the data plane raises."""
        wiring = self.wiring(record)
        with self._hold(record.id):
            self.follow_network(record.id)
            known = self._wirings.get(record.id)
            if known == wiring and not force:
                return
            made = self._dataplane.ensure_network(wiring)
            with self._lock:
                self._wirings[record.id] = wiring
                event = self._programmed.setdefault(record.id, threading.Event())
            if known is None or made:
                # what listened in a namespace that was made anew listens nowhere
                self._dns.remove(record.id)
                self._dns.add(record.id, *self._dataplane.listen(record.id))
            if made:
                event.clear()
                self._marked.add(record.id)

    def attach(self, record: NetworkRecord, endpoint: EndpointRecord) -> str:
        """The name of the interface that Docker moves into the container."""
        with self._hold(record.id):
            return self._dataplane.attach(record.id, endpoint.id, endpoint.mac)

    def detach(self, network: str, endpoint: str) -> None:
        self._widths.pop(endpoint, None)
        with self._hold(network):
            if network in self._wirings:
                self._dataplane.detach(network, endpoint)

    def remove(self, network: str, unless: Callable[[], bool] = lambda: False) -> bool:
        """The whole network, out of the kernel and the DNS; False where `unless` holds by now."""
        with self._hold(network):
            if unless():
                return False
            self.unfollow_network(network)
            self._dns.remove(network)
            self._zone.drop_network(network)
            self._dataplane.remove_network(network)
            with self._lock:
                self._wirings.pop(network, None)
                self._programmed.pop(network, None)
            self._marked.discard(network)
            return True

    def wait_programmed(self, network: str, deadline: float) -> bool:
        """Until the peers that etcd knows are in the kernel; False after `deadline` seconds: a container then
        starts all the same, and the peers follow."""
        with self._lock:
            event = self._programmed.get(network)
        return bool(event and event.wait(deadline))

    def sync(self, network: str) -> int:
        """All peers of one network into the kernel; how many changes that took. Where they are not all known yet,
        what the process before has programmed stays; into a namespace that is new goes what that process knew."""
        with self._hold(network):
            known = self._view.knows_peers(network)
            if network not in self._wirings or not (
                known or (network in self._marked and self._view.has_peers(network))
            ):
                return 0
            try:
                changes = self._dataplane.set_peers(network, self.peers(network))
            except Exception as error:  # netlink's errors have no common base that we may import
                self._mark(network, error)
                return 0
            self._marked.discard(network)
            with self._lock:
                event = self._programmed.get(network)
            if event:
                event.set()
            return changes

    def findings(self, record: NetworkRecord) -> List[str]:
        """What of the network in the kernel differs from etcd, in words; changes nothing."""
        with self._hold(record.id):
            return self._dataplane.findings(self.wiring(record), self.peers(record.id))

    def peers(self, network: str) -> Dict[str, Peer]:
        """By endpoint id; those of machines whose address is not known yet are left out."""
        found = {}
        for one in self._view.endpoints(network):
            peer = self._peer(one)
            if peer:
                found[one.id] = peer
        return found

    def follow(self, moved: Moved) -> None:
        """One step of the view → kernel and DNS."""
        if moved.kind == "endpoints" and moved.whole:
            self._zone.set_endpoints(moved.network, self._view.endpoints(moved.network))
            self.sync(moved.network)
        elif moved.kind == "endpoints":
            self._step(moved)
        elif moved.kind == "networks":
            self._zone.set_networks(self._view.networks().values())
        elif moved.kind == "machines":
            self._zone.set_dead(self._view.dead())
            for network in self.local():
                self.sync(network)
        elif moved.kind == "alive":
            self._zone.set_dead(self._view.dead())

    def repair(self, network: str, endpoints: Callable[[], Iterable[str]]) -> int:
        """Ports of endpoints that are gone are removed; how many. A running container's lost port can't be made
        again, its other end is the container's."""
        with self._hold(network):
            there = self._dataplane.attached(network)
            # asked after: an endpoint is in the ledger before it gets a port
            gone = there - {one[:12] for one in endpoints()}
            for stranger in gone:
                self._dataplane.detach(network, stranger)
        return len(gone)

    def narrow(self, record: NetworkRecord, endpoint: EndpointRecord, sandbox: str) -> bool:
        """Fits a running container's interface to an underlay that has become narrower; whether it had to be. It
        is looked at once for each MTU of the network."""
        mtu = self.wiring(record).mtu
        if self._widths.get(endpoint.id, mtu + 1) <= mtu:
            return False
        self._widths[endpoint.id] = mtu
        try:
            return self._dataplane.narrow(sandbox, endpoint.mac, mtu)
        except Exception as error:  # as in move_resolver
            self._journal.say("note", f"the MTU of {endpoint.name or endpoint.id[:12]}: {error!r}")
            return False

    def remove_strangers(self) -> None:
        """Namespaces of networks that this machine no longer knows."""
        there = self._dataplane.networks()
        with self._lock:
            # a lock is there as soon as somebody works on a network
            known = {network[:12] for network in (*self._wirings, *self._locks)}
        for stranger in there - known:
            self._dataplane.remove_network(stranger)

    def set_sandboxes(self, sandboxes: Mapping[str, Sequence[str]]) -> None:
        """Which containers are in which networks, for the DNS: local endpoint id → network ids."""
        self._zone.set_sandboxes(sandboxes)

    def move_resolver(self, sandbox: str, gone: EndpointRecord, left: EndpointRecord) -> None:
        """A container leaves the network that its way to our DNS led through: it gets the way through another."""
        try:
            self._dataplane.resolver_route(sandbox, left.mac)
        except Exception as error:  # the container may be ending at this moment
            self._journal.say("note", f"no way to the DNS after leaving {gone.network[:12]}: {error!r}")

    def _step(self, moved: Moved) -> None:
        network = moved.network
        if moved.after:
            self._zone.put_endpoint(moved.after)
        elif moved.before:
            self._zone.drop_endpoint(network, moved.before.id)
        with self._hold(network):
            if network not in self._wirings:
                return
            before = self._peer(moved.before) if moved.before else None
            after = self._peer(moved.after) if moved.after else None
            if before == after:
                return
            try:
                if moved.before and before:
                    self._dataplane.drop_peer(network, moved.before.id, before)
                if moved.after and after:
                    self._dataplane.put_peer(network, moved.after.id, after)
            except Exception as error:  # as in sync
                self._mark(network, error)

    def _peer(self, one: EndpointRecord) -> Optional[Peer]:
        vtep = "" if one.machine == self._machine else self._view.vtep(one.machine)
        if not vtep:
            return None
        return Peer(one.mac, tuple(ip for ip in (one.ip, one.ip6) if ip), vtep)

    def _mark(self, network: str, error: Exception) -> None:
        with self._lock:
            self._marked.add(network)
        self._journal.say("error", f"network {network[:12]}: its peers can't be programmed: {error!r}")

    def _hold(self, network: str) -> threading.RLock:
        with self._lock:
            return self._locks.setdefault(network, threading.RLock())
