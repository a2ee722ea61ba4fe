"""The network service: `current network-daemon`, systemd's machinectl-network.service.

Threads: `plugin` (and one for each of dockerd's connections), `follower` (etcd → kernel, DNS), `events` (dockerd →
names, replication), `replicate`, `names`, `reconcile`, `revive`, `alive`, the DNS server's, and `main`, which answers
on the control socket. What they share is in Core; each part guards itself.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from typing import Optional, Tuple

from machinectl_agent.bundle import leave_link, own_hash
from machinectl_agent.daemon.journal import Journal
from machinectl_agent.daemon.notify import notify, watchdog_seconds
from machinectl_agent.daemon.server import BEAT, Door, only_one, open_socket
from machinectl_agent.daemon.settings import Settings as DoorSettings
from machinectl_agent.daemon.systemd import Systemd
from machinectl_agent.kv.gateway import Gateway
from machinectl_agent.kv.tls import Tls
from machinectl_agent.network import driver, plugin
from machinectl_agent.network.admin import Admin
from machinectl_agent.network.cache import Cache
from machinectl_agent.network.core import Core
from machinectl_agent.network.desk import Desk
from machinectl_agent.network.dns.server import Server
from machinectl_agent.network.dns.upstreams import Upstreams
from machinectl_agent.network.dns.zone import Zone
from machinectl_agent.network.drivers import host_resolver
from machinectl_agent.network.drivers.vxlan import Vxlan
from machinectl_agent.network.engine import Engine
from machinectl_agent.network.events import Events, Running
from machinectl_agent.network.fabric import Fabric
from machinectl_agent.network.follower import Follower
from machinectl_agent.network.ipam import Ipam
from machinectl_agent.network.lease import Alive
from machinectl_agent.network.ledger import Ledger
from machinectl_agent.network.names import Item, Names
from machinectl_agent.network.paths import RESOLVER
from machinectl_agent.network.probe.responder import Responder
from machinectl_agent.network.reconcile import Reconcile
from machinectl_agent.network.records import Layout
from machinectl_agent.network.registry.registry import Registry
from machinectl_agent.network.replicate import Replicate
from machinectl_agent.network.revive import Revive
from machinectl_agent.network.settings import Settings, load
from machinectl_agent.network.settling import Settling
from machinectl_agent.network.view import Moved, View
from machinectl_agent.network.whereabouts import Whereabouts
from machinectl_agent.network.worker import Worker
from machinectl_agent.problems import Problem
from machinectl_agent.version import __version__


def serve(settings: Optional[Settings] = None) -> int:
    """Until SIGTERM or SIGINT. Exit status 0, or 1 where it can't be a member as it is configured."""
    leave_link("network-daemon")
    journal = Journal()
    threading.stack_size(512 * 1024)
    try:
        settings = settings or load()
        with only_one(settings.control_socket):
            _serve(settings, journal)
    except Problem as problem:
        journal.say("error", f"{problem.what}: {problem.why}")
        return 1
    return 0


def _serve(settings: Settings, journal: Journal) -> None:
    ending, end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: os.write(end, b"x"))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    service = Service(settings, journal)
    control = open_socket(settings.control_socket)
    service.start()
    journal.say("notice", f"machinectl network {__version__} ({own_hash() or 'checkout'}) is {settings.name}")
    notify("READY=1")
    door = Door(control, DoorSettings(socket=settings.control_socket), service.desk.answers())

    def beat() -> None:
        if service.is_well():
            notify("WATCHDOG=1", f"STATUS={len(service.core.ledger.endpoints())} endpoints")

    door.open_until(ending, min(BEAT, watchdog_seconds() / 3 or BEAT), beat)
    notify("STOPPING=1")
    service.core.cache.save_surely()
    control.close()
    os.unlink(settings.control_socket)  # noqa: PTH108 - no pathlib here
    journal.say("notice", "machinectl network ends; the networks stay in the kernel")


class Service:
    """The parts, joined. `start` returns at once."""

    def __init__(self, settings: Settings, journal: Journal) -> None:
        tls = Tls(settings.ca, settings.cert, settings.key) if settings.ca else None
        whereabouts = Whereabouts(settings, journal)
        self._kv = Gateway(whereabouts.endpoints, tls=tls)
        layout, view, zone = Layout(settings.prefix), View(Layout(settings.prefix)), Zone()
        upstreams = Upstreams(settings.upstreams)
        self._dns = Server(zone, upstreams, journal=journal)
        self._zone = zone
        fabric = Fabric(settings.id, view, zone, self._dns, Vxlan(port=settings.port), journal)
        follower = Follower(self._kv.watch(), layout, view, fabric, journal)
        registry = Registry(
            self._kv,
            layout,
            settings.id,
            pools=settings.pools,
            pool_size=settings.pool_size,
            patience=settings.patience,
        )
        self.core = core = Core(
            settings=settings,
            journal=journal,
            layout=layout,
            registry=registry,
            settling=Settling(view, registry),
            ledger=Ledger(settings.ledger),
            view=view,
            fabric=fabric,
            follower=follower,
            engine=Engine(settings.engine_socket),
            cache=Cache(settings.cache, view, journal),
            whereabouts=whereabouts,
        )
        names = Names(core)
        self._reconcile = Reconcile(core, names)
        self._names: Worker[Item] = Worker("names", names.learn, journal)
        self._replicating: Worker[str] = Worker("replicate", Replicate(core).one, journal)
        self._reconciling: Worker[str] = Worker("reconcile", self._reconcile.work, journal)
        self._detaching: Worker[Tuple[str, str]] = Worker(
            "detach", lambda item: fabric.detach(*item), journal
        )
        self._moving: Worker[Tuple[str, ...]] = Worker("etcd", whereabouts.take, journal)
        self._reviving: Worker[str] = Worker("revive", Revive(core).work, journal)
        self._alive = Alive(self._kv, layout, settings.id, settings.ttl, journal)
        running = Running(Systemd(settings.unit), settings.engine_socket)
        self._events = Events(core, running, lambda container: self._names.put(("container", container, "")))
        self._plugin = plugin.Plugin(
            _plugin_socket(settings), driver.calls(driver.Driver(core), Ipam(core)), journal, self._refused
        )
        self.desk = Desk(core, Admin(core, self._alive), self._reconcile)
        self._join()

    def start(self) -> None:
        """The kernel and the DNS first, from the ledger: containers that are there need neither etcd nor dockerd."""
        core = self.core
        core.cache.load()
        # a network that the zone does not know counts as internal
        self._zone.set_networks({**core.ledger.networks(), **core.view.networks()}.values())
        for network in core.ledger.networks():
            self._zone.set_endpoints(network, core.view.endpoints(network))
        self._zone.set_sandboxes(core.ledger.sandboxes())
        self._dns.start()
        self._listen_on_host()
        for worker in (
            self._names,
            self._replicating,
            self._reconciling,
            self._moving,
            self._detaching,
            self._reviving,
        ):
            worker.start()
        core.follower.start()
        core.cache.start()
        self._reconciling.put("")
        self._alive.start()
        self._events.start()
        self._plugin.start()
        threading.Thread(target=self._tick, name="tick", daemon=True).start()

    def is_well(self) -> bool:
        """Whether the watchdog may hear of us."""
        return self._dns.is_well()

    def _listen_on_host(self) -> None:
        """daemon.json names us to containers that are in no network of ours, too."""
        try:
            self._dns.add(None, *host_resolver.listen())
        except OSError as error:
            self.core.journal.say("warning", f"no DNS on the host's own {RESOLVER}: {error}")

    def _join(self) -> None:
        core = self.core
        core.wake = self._replicating.put
        core.learn = lambda docker_id, endpoint: self._names.put(("joined", docker_id, endpoint))
        core.detach = lambda network, endpoint: self._detaching.put((network, endpoint))
        core.reconcile = lambda: self._reconciling.put("")
        core.revive = lambda: self._reviving.put("")
        core.reconcile_now = self._reconcile.run
        core.fabric.follow_network = core.follower.follow
        core.fabric.unfollow_network = core.follower.unfollow
        core.whereabouts.use = self._kv.use
        core.whereabouts.put = self._moving.put
        core.follower.on_etcd = core.whereabouts.heard
        core.follower.on_moved = self._moved
        core.follower.on_change = core.cache.note
        core.follower.on_back = core.reconcile
        settings = core.settings
        responder = Responder(
            self._kv, core.layout, settings.id, settings.port, lambda: core.fabric.vtep, core.journal
        )
        core.follower.on_probe = responder.asked

    def _refused(self) -> None:
        self.core.refused = time.monotonic()

    def _moved(self, moved: Moved) -> None:
        if moved.kind == "networks":
            self.core.wake(moved.network)
        if moved.kind == "restored" or (moved.kind == "machines" and moved.whole):
            self.core.reconcile()

    def _tick(self) -> None:
        while True:
            time.sleep(self.core.settings.interval)
            self.core.reconcile()
            self.core.whereabouts.again()


def _plugin_socket(settings: Settings) -> socket.socket:
    return plugin.passed_socket() or plugin.bound_socket(settings.plugin_socket)
