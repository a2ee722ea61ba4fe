"""What was known of other machines, on the disk: a service that starts while etcd is away knows their names at once.

It may be a few seconds old, and counts only until etcd is heard (`View.load`). Written some seconds after a change,
atomically and without fsync: what a power cut tears counts as none.
"""

from __future__ import annotations

import json
import os
import threading
import time
from typing import Any, Callable, Dict, Iterable, Mapping

from machinectl_agent.daemon.journal import Journal
from machinectl_agent.network.records import EndpointRecord, MachineRecord, NetworkRecord, decode, encode
from machinectl_agent.network.view import Known, View

PAUSE = 5.0
"""Seconds between a change and its writing; at least a hundred times as long as the writing takes."""

MOST = 20_000
"""Endpoints that are kept (5 MB): of the networks that this machine has containers in, smaller ones first."""


class Cache:
    """One thread writes. Times are seconds since 1970."""

    def __init__(
        self, path: str, view: View, journal: Journal, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._view = view
        self._journal = journal
        self._clock = clock
        self._changed = threading.Event()
        self._writing = threading.Lock()
        self.written = 0.0
        """When the file was written that was loaded; 0: there was none."""

    def load(self) -> bool:
        """Into the view. A file that is damaged counts as none."""
        try:
            with open(self._path, encoding="utf-8") as stream:
                document: Dict[str, Any] = json.load(stream)
            known = Known(
                int(document["cluster"]),
                {one.id: one for one in _decoded(MachineRecord, document["machines"])},
                {one.id: one for one in _decoded(NetworkRecord, document["networks"])},
                {
                    str(network): {one.id: one for one in _decoded(EndpointRecord, records)}
                    for network, records in document["endpoints"].items()
                },
            )
            written = float(document["written"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False
        self._view.load(known)
        self.written = written
        return True

    def start(self) -> None:
        threading.Thread(target=self.run, name="cache", daemon=True).start()

    def note(self) -> None:
        """The view has changed."""
        self._changed.set()

    def run(self) -> None:
        """For ever."""
        pause = PAUSE
        while True:
            self._changed.wait()
            time.sleep(pause)  # many changes are one writing
            pause = self.save_surely(pause)

    def save_surely(self, pause: float = PAUSE) -> float:
        """Writes what has changed, and says when that may be done again; a full disk is told, and costs nothing."""
        began = time.monotonic()
        try:
            self.save()
        except OSError as error:
            self._journal.say("warning", f"{self._path} can't be written: {error}")
            return max(pause, 60.0)
        return max(PAUSE, 100 * (time.monotonic() - began))

    def save(self) -> None:
        """Nothing while the view is itself from the file, or holds on to what was before a restore."""
        with self._writing:
            if not self._changed.is_set():
                return
            self._changed.clear()
            known = self._view.dump()
            if known is None:
                return
            document = {
                "cluster": known.cluster,
                "written": self._clock(),
                "machines": _encoded(known.machines),
                "networks": _encoded(known.networks),
                "endpoints": {name: _encoded(records) for name, records in _fitting(known.endpoints)},
            }
            temporary = f"{self._path}.tmp"
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120 - no pathlib here
            with open(temporary, "w", encoding="utf-8") as stream:
                os.fchmod(stream.fileno(), 0o600)
                stream.write(json.dumps(document, separators=(",", ":")))
            os.replace(temporary, self._path)  # noqa: PTH105


def _encoded(records: Mapping[str, Any]) -> Any:
    return [json.loads(encode(one)) for one in records.values()]


def _decoded(shape: Any, documents: Iterable[Any]) -> Iterable[Any]:
    return [decode(shape, json.dumps(one).encode()) for one in documents]


def _fitting(endpoints: Mapping[str, Mapping[str, EndpointRecord]]) -> Iterable[Any]:
    """Pure. Whole networks: half a network would look as if the rest were gone."""
    left = MOST
    for network, records in sorted(endpoints.items(), key=lambda item: len(item[1])):
        left -= len(records)
        if left < 0:
            return
        yield network, records
