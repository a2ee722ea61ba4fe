"""The parts that dockerd's calls, the replication and the reconcile all work with."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Callable, Mapping, Optional, Set

from machinectl_agent.daemon.journal import Journal
from machinectl_agent.network.cache import Cache
from machinectl_agent.network.engine import Engine
from machinectl_agent.network.fabric import Fabric
from machinectl_agent.network.follower import Follower
from machinectl_agent.network.ledger import Ledger
from machinectl_agent.network.records import Layout, NetworkRecord
from machinectl_agent.network.registry.registry import Registry
from machinectl_agent.network.settings import Settings
from machinectl_agent.network.settling import Settling
from machinectl_agent.network.view import View
from machinectl_agent.network.whereabouts import Whereabouts


@dataclass
class Core:
    """Made once by the service. What is callable here is set by the part that does it."""

    settings: Settings
    journal: Journal
    layout: Layout
    registry: Registry
    settling: Settling
    ledger: Ledger
    view: View
    fabric: Fabric
    follower: Follower
    engine: Engine
    cache: Cache
    whereabouts: Whereabouts
    engine_up: bool = False
    """The stream of events is connected: only then dockerd may be asked."""
    docker_asked: bool = False
    """The ledger, which can be lost, was compared with Docker: what is not in it no container has."""
    leaving: bool = False
    """The machine is no longer a member: nothing is replicated or put back."""
    refused: float = field(default_factory=time.monotonic)
    """When a call of dockerd's has failed for want of etcd (time.monotonic), and it may have before we were there; 0:
    what that has kept down was started (revive.py)."""
    removing: Set[str] = field(default_factory=set)
    """Docker ids of networks that the agent itself removes here: their removal is not the user's."""
    wake: Callable[[str], None] = lambda _network: None
    """Compares a network in Docker with etcd soon; empty: all of them."""
    learn: Callable[[str, str], None] = lambda _docker_id, _endpoint: None
    """Finds out the name of an endpoint's container soon."""
    detach: Callable[[str, str], None] = lambda _network, _endpoint: None
    """Takes an endpoint's interface out of the kernel soon, which waits there for up to some ten milliseconds."""
    reconcile: Callable[[], None] = lambda: None
    """Everything, soon."""
    revive: Callable[[], None] = lambda: None
    """Starts soon what dockerd could not start without etcd."""
    reconcile_now: Callable[[], Mapping[str, object]] = dict
    """Everything, before it returns; what was done."""

    def stale_since(self) -> float:
        """When what is known of other machines was written down (seconds since 1970); 0: it is what etcd says."""
        is_heard = self.view.knows(self.layout.machines)
        return 0.0 if is_heard else self.cache.written

    def record(self, docker_id: str) -> Optional[NetworkRecord]:
        """The network behind one of Docker's, as etcd says it now or as it was known last."""
        known = self.ledger.network(docker_id)
        return (self.view.network(known.id) or known) if known else None
