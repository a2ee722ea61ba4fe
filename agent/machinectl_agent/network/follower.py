"""The thread that follows etcd: watch → view → kernel, DNS and replication."""

from __future__ import annotations

import threading
from typing import Callable, Set

from machinectl_agent.daemon.journal import Journal
from machinectl_agent.kv.interface import Trouble, Watch, WatchItem
from machinectl_agent.network.fabric import Fabric
from machinectl_agent.network.records import Layout
from machinectl_agent.network.view import Moved, View


class Follower:
    """Owns the watch."""

    def __init__(self, watch: Watch, layout: Layout, view: View, fabric: Fabric, journal: Journal) -> None:
        self._watch = watch
        self._layout = layout
        self._view = view
        self._fabric = fabric
        self._journal = journal
        self._followed: Set[str] = set()
        self._lock = threading.Lock()
        self._applying = threading.Lock()
        """Held from a change of the view until it is in kernel and DNS."""
        self.trouble = ""
        """How etcd is away; empty: it is not."""
        self.on_change: Callable[[], None] = lambda: None
        """Called after every change of the view."""
        self.on_moved: Callable[[Moved], None] = lambda _moved: None
        self.on_back: Callable[[], None] = lambda: None
        """Called when etcd is there again."""
        self.on_probe: Callable[[WatchItem], None] = lambda _item: None
        """Called when a machine wants to know whether its packets come through."""

        self.on_etcd: Callable[[WatchItem], None] = lambda _item: None
        """Called when etcd's members are others."""

    def start(self) -> None:
        layout = self._layout
        # machines first: by their snapshot the view sees that a backup was restored
        for prefix in (layout.machines, layout.alives, layout.settled, layout.networks):
            self._watch.add(prefix)
        for prefix in (layout.probes, layout.etcd):
            self._watch.add(prefix)
        threading.Thread(target=self.run, name="follower", daemon=True).start()

    def follow(self, network: str) -> None:
        """Its endpoints are watched from now on."""
        with self._lock:
            self._followed.add(network)
            self._watch.add(self._layout.endpoints(network))

    def unfollow(self, network: str) -> None:
        with self._lock:
            self._followed.discard(network)
            self._watch.remove(self._layout.endpoints(network))
            self._view.forget(network)

    def followed(self) -> Set[str]:
        with self._lock:
            return set(self._followed)

    def run(self) -> None:
        """Until the watch is closed."""
        for item in self._watch:
            if isinstance(item, Trouble):
                self._say(item.text)
                continue
            if item.prefix in (self._layout.probes, self._layout.etcd):
                (self.on_probe if item.prefix == self._layout.probes else self.on_etcd)(item)
                continue
            with self._applying:
                was_holding = self._view.is_holding
                moved = self._view.apply(item)
                if moved and moved.kind == "restored":
                    if not was_holding:
                        self._journal.say(
                            "warning", "etcd was restored from a backup: what was known counts for now"
                        )
                        self.on_moved(moved)
                elif moved:
                    self._program(moved)
            if moved:
                self.on_change()
            self.release_if_settled()

    def release_if_settled(self) -> None:
        """After a restore: etcd's word counts again as soon as all machines have put back what they have, or that
        takes too long."""
        with self._applying:
            if not self._view.is_holding or self._view.unsettled():
                return
            for moved in self._view.release():
                self._program(moved)
        self.on_change()
        self._journal.say("notice", "etcd knows again what the machines have")

    def _program(self, moved: Moved) -> None:
        if moved.kind == "endpoints" and moved.network not in self._followed:
            return
        try:
            self._fabric.follow(moved)
            self.on_moved(moved)
        except Exception as error:  # one bad change must not end the following of all others
            self._journal.say("error", f"a fault of the agent's own while it followed etcd: {error!r}")

    def _say(self, text: str) -> None:
        if text and not self.trouble:
            self._journal.say("warning", f"etcd is away: {text}; networks go on with what is known")
        elif self.trouble and not text:
            self._journal.say("notice", "etcd is there again")
        back = self.trouble and not text
        self.trouble = text
        if back:
            self.on_back()
