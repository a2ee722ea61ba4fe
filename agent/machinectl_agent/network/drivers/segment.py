"""One network as this run knows it: a socket in its namespace, and what the peers said.

The namespace can be deleted, and made anew, behind our back: each use compares the path with what was opened. (The
socket keeps the old one alive; `namespaces.ensure` binds that again.)
"""

from __future__ import annotations

import errno
import threading
from typing import Dict, Mapping, Optional, Tuple

from machinectl_agent.network.drivers.forwarding import Forwarding
from machinectl_agent.network.drivers.interface import Peer
from machinectl_agent.network.drivers.interior import BRIDGE, VXLAN
from machinectl_agent.network.netlink import entries, links, namespaces
from machinectl_agent.network.netlink.entries import Entries
from machinectl_agent.network.netlink.sockets import Netlink


class Segment:
    """Its lock is held by whoever uses it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.lock = threading.RLock()
        self.forwarding = Forwarding()
        self.told: Dict[str, Peer] = {}
        """All peers, those too that can't be reached from our underlay address."""
        self.macs: Dict[str, str] = {}
        """Port name → MAC, of what was attached in this run."""
        self._netlink: Optional[Netlink] = None
        self._identity: Optional[Tuple[int, int]] = None
        self._local: Optional[Dict[str, int]] = None
        self.forget_links()

    def forget_links(self) -> None:
        """They are looked up again when they are needed."""
        self._bridge = self._vxlan = self._mtu = 0
        self._underlay = ""

    def lost(self) -> Optional[Netlink]:
        """The socket of a namespace that no path leads to any more."""
        return self._netlink if namespaces.identity(self.path) is None else None

    def netlink(self) -> Netlink:
        """Raises FileNotFoundError where the network is not on this machine."""
        found = namespaces.identity(self.path)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "the network has no namespace on this machine", self.path)
        if self._netlink is None or found != self._identity:
            if self._netlink is not None:
                # without a name, but ours: it would keep the VNI till the kernel finds the time to end it
                links.clear(self._netlink)
            self.close()
            self._netlink = namespaces.open_netlink(self.path)
            self._identity = found
        return self._netlink

    def is_open(self) -> bool:
        return self._netlink is not None

    def close(self) -> None:
        if self._netlink is not None:
            self._netlink.close()
        self._netlink = None
        self._identity = self._local = None
        self.forget_links()

    def bridge(self) -> int:
        """Index."""
        self._look_up()
        return self._bridge

    def vxlan(self) -> int:
        """Index."""
        self._look_up()
        return self._vxlan

    def mtu(self) -> int:
        self._look_up()
        return self._mtu

    def local(self) -> Dict[str, int]:
        """MAC → index of the port that it has here. Read once: from then on it is kept."""
        if self._local is None:
            self._local = self.entries().local
        return self._local

    def entries(self) -> Entries:
        """What the kernel has now."""
        found = entries.entries(self.netlink(), self.vxlan())
        self._local = found.local
        return found

    def tell(self, peers: Mapping[str, Peer]) -> None:
        """All of them; those that can't be reached are remembered only."""
        self.told = dict(peers)
        self.forwarding.replace({name: one for name, one in peers.items() if self.reaches(one)})

    def reaches(self, peer: Peer) -> bool:
        """Not one of another address family than our own underlay address; and not ourselves."""
        self._look_up()
        return (":" in peer.vtep) == (":" in self._underlay) and peer.vtep != self._underlay

    def _look_up(self) -> None:
        netlink = self.netlink()
        if self._bridge:
            return
        bridge, vxlan = links.link(netlink, BRIDGE), links.link(netlink, VXLAN)
        if bridge is None or vxlan is None:
            missing = BRIDGE if bridge is None else VXLAN
            raise FileNotFoundError(errno.ENOENT, f"the network has lost its {missing}", self.path)
        self._underlay = vxlan.settings.get("VXLAN_LOCAL") or vxlan.settings.get("VXLAN_LOCAL6") or ""
        self._vxlan, self._mtu = vxlan.index, vxlan.mtu
        self._bridge = bridge.index
