"""Both clients of etcd, and somebody who reads a watch: for every test of the key-value store's interface."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from machinectl.kv.client import Etcd3
from machinectl_agent.kv.gateway import Gateway
from machinectl_agent.kv.interface import Change, KvError, KvUnavailable, Snapshot, Trouble, Watch, WatchItem
from machinectl_agent.kv.tls import Tls
from tests.etcd_cluster import EtcdCluster, Files

KINDS: dict[str, Any] = {"gateway": Gateway, "etcd3": Etcd3}


def tls_of(files: Files | None) -> Tls | None:
    return Tls(files.ca, files.cert, files.key) if files else None


def connect(kind: str, cluster: EtcdCluster, endpoints: Sequence[str] = ()) -> Any:
    """A client of all members, or of those endpoints."""
    return KINDS[kind](endpoints or cluster.endpoints, tls=tls_of(cluster.files))


def succeeds(call: Callable[[], Any], but: type[KvError] = KvUnavailable, seconds: float = 60.0) -> Any:
    """The answer, as soon as there is one instead of an error of that type."""
    end = time.monotonic() + seconds
    while True:
        try:
            return call()
        except but:
            assert time.monotonic() < end
            time.sleep(0.05)


class Reader:
    """Reads a watch in a thread of its own until `close`."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.items: list[WatchItem] = []
        self._came = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for item in self.watch:
            with self._came:
                self.items.append(item)
                self._came.notify_all()

    def wait(self, met: Callable[[], object], seconds: float = 60) -> None:
        """Until `met` is true of `items`."""
        with self._came:
            assert self._came.wait_for(lambda: bool(met()), seconds), self.items[-20:]

    def snapshots(self, prefix: str = "") -> list[Snapshot]:
        return [one for one in self.items if isinstance(one, Snapshot) and one.prefix.startswith(prefix)]

    def changes(self, prefix: str = "") -> list[Change]:
        return [one for one in self.items if isinstance(one, Change) and one.prefix.startswith(prefix)]

    def troubles(self) -> list[str]:
        return [one.text for one in self.items if isinstance(one, Trouble)]

    def close(self) -> float:
        """Seconds that it took to end."""
        began = time.monotonic()
        self.watch.close()
        self._thread.join(30)
        assert not self._thread.is_alive()
        return time.monotonic() - began
