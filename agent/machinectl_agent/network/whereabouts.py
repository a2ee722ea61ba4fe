"""Where etcd is: as the configuration says, until etcd itself says that its members have moved.

`machinectl etcd add` and `remove` write the members' URLs into etcd; every machine takes them over while the old
members still answer, and keeps them on the disk for its next start. A configuration that names others afterwards
(`machinectl provision` writes it) counts again, until etcd has its say.
"""

from __future__ import annotations

import json
import os
import threading
from typing import Callable, Optional, Sequence, Tuple

from machinectl_agent.daemon.journal import Journal
from machinectl_agent.kv.gateway import Gateway
from machinectl_agent.kv.interface import Change, KvError, Snapshot, WatchItem
from machinectl_agent.kv.tls import Tls
from machinectl_agent.network.records import EtcdRecord, Layout, decode
from machinectl_agent.network.settings import Settings

DEADLINE = 5.0
"""Seconds in which one of the new members has to answer us."""

Endpoints = Tuple[str, ...]


class Whereabouts:
    """`take` is a Worker's work."""

    def __init__(self, settings: Settings, journal: Journal) -> None:
        self._settings = settings
        self._journal = journal
        self._lock = threading.Lock()
        self._pending: Endpoints = ()
        """What etcd says, and no member of it has answered yet."""
        self.endpoints: Endpoints = _read(settings.learned, settings.endpoints) or settings.endpoints
        """URLs that are used now."""
        self.use: Callable[[Endpoints], None] = lambda _endpoints: None
        """Tells our clients of etcd."""
        self.put: Callable[[Endpoints], None] = lambda _endpoints: None
        """Has it taken soon, by another thread."""

    def heard(self, item: WatchItem) -> None:
        """One item of the watch of `Layout.etcd`."""
        key = Layout(self._settings.prefix).etcd_endpoints
        value: Optional[bytes] = None
        if isinstance(item, Snapshot):
            value = next((one.value for one in item.items if one.key == key), None)
        elif isinstance(item, Change) and item.key == key:
            value = item.value
        if value is not None:
            self.put(parsed(value))

    def again(self) -> None:
        """What could not be taken over before."""
        if self._pending:
            self.put(self._pending)

    def take(self, wanted: Endpoints) -> None:
        """Uses them from now on where one of them answers us; else what is used stays as it is."""
        with self._lock:
            self._pending = ()
            if not wanted or set(wanted) == set(self.endpoints):
                return
            try:
                self._ask(wanted)
            except (KvError, ValueError, OSError) as error:
                self._pending = wanted
                self._journal.say("warning", f"etcd is said to be at {', '.join(wanted)}: {error}")
                return
            self.use(wanted)
            self.endpoints = wanted
            self._journal.say("notice", f"etcd is at {', '.join(wanted)}")
            try:
                self._write(wanted)
            except OSError as error:
                self._journal.say("warning", f"{self._settings.learned} can't be written: {error}")

    def _ask(self, wanted: Endpoints) -> None:
        settings = self._settings
        tls = Tls(settings.ca, settings.cert, settings.key) if settings.ca else None
        kv = Gateway(wanted, tls=tls)
        try:
            kv.get(Layout(settings.prefix).etcd_endpoints, deadline=DEADLINE)
        finally:
            kv.close()

    def _write(self, endpoints: Endpoints) -> None:
        path = self._settings.learned
        document = {"configured": list(self._settings.endpoints), "endpoints": list(endpoints)}
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120 - no pathlib here
        temporary = f"{path}.tmp"
        with open(temporary, "w", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), 0o600)
            json.dump(document, stream)
            stream.flush()
            # unlike the rest of what we keep it can't be found out again: the old members may be gone
            os.fsync(stream.fileno())
        os.replace(temporary, path)  # noqa: PTH105


def parsed(value: bytes) -> Endpoints:
    """Pure: what etcd says; nothing where that is no list of URLs."""
    try:
        found = decode(EtcdRecord, value).endpoints
    except (ValueError, TypeError):
        return ()
    return found if all(isinstance(one, str) and one for one in found) else ()


def _read(path: str, configured: Sequence[str]) -> Endpoints:
    """What was learned under this configuration; nothing under another one, or where the file is damaged."""
    try:
        with open(path, encoding="utf-8") as stream:
            document = json.load(stream)
        if tuple(document["configured"]) != tuple(configured):
            return ()
        return tuple(str(one) for one in document["endpoints"])
    except (OSError, ValueError, KeyError, TypeError):
        return ()
