"""`alive/ID` in etcd on a lease: this machine's agent runs. Nothing else hangs on it; addresses never do."""

from __future__ import annotations

import threading
import time

from machinectl_agent.daemon.journal import Journal
from machinectl_agent.kv.interface import Kv, KvError, LeaseGone
from machinectl_agent.network.records import Layout


class Alive:
    """One thread, for ever."""

    def __init__(self, kv: Kv, layout: Layout, machine: str, ttl: int, journal: Journal) -> None:
        self._kv = kv
        self._key = layout.alive(machine)
        self._ttl = ttl
        self._journal = journal
        self._ending = threading.Event()
        self._lease = 0

    def start(self) -> None:
        threading.Thread(target=self.run, name="alive", daemon=True).start()

    def run(self) -> None:
        """Three times in each lease, and every second while etcd is away."""
        pause, failing = 0.0, False
        while not self._ending.wait(pause):
            try:
                pause, failing = self._beat(), False
            except LeaseGone:
                self._lease, pause = 0, 0.0
            except KvError as error:
                if not failing:
                    self._journal.say("note", f"the lease can't be renewed: {error}")
                pause, failing = 1.0, True

    def end(self) -> None:
        """The machine leaves: the key goes at once."""
        self._ending.set()
        if self._lease:
            self._kv.revoke(self._lease, deadline=2.0)

    def _beat(self) -> float:
        began = time.monotonic()
        if not self._lease:
            lease = self._kv.grant(self._ttl)
            self._kv.put(self._key, b"", lease=lease)
            self._lease = lease
        elif self._kv.get(self._key) is None:
            # a restored backup has the lease perhaps, but not the key
            self._kv.put(self._key, b"", lease=self._lease)
        else:
            self._kv.keep_alive(self._lease)
        return max(self._ttl / 3 - (time.monotonic() - began), 0.5)
