"""What this machine itself has: its endpoints and its networks, on the disk: a killed agent knows them at once.

The truth about containers is Docker's, but Docker can't be asked while it boots or is down, and etcd can be away.
The file is only this machine's memory: the reconcile compares it with both. It is written atomically, without
fsync: after a power cut every container's interface is gone anyway.
"""

from __future__ import annotations

import dataclasses
import json
import os
import threading
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional

from machinectl_agent.network.records import EndpointRecord, NetworkRecord, decode, encode


@dataclass(frozen=True)
class Local:
    """An endpoint of this machine."""

    record: EndpointRecord
    sandbox: str = ""
    """Path of the container's network namespace; empty before Join and after Leave."""
    since: float = 0.0
    """time.time() of its CreateEndpoint."""


class Ledger:
    """Safe in threads."""

    def __init__(self, path: str, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._endpoints: Dict[str, Local] = {}
        self._networks: Dict[str, NetworkRecord] = {}
        self._ids: Dict[str, str] = {}
        """Docker's id of a replica → the network's id."""
        self.revision = 0
        """Of etcd, the highest seen: one that goes back says that a backup was restored."""
        self._read()

    def endpoints(self, network: str = "") -> List[Local]:
        with self._lock:
            return [one for one in self._endpoints.values() if not network or one.record.network == network]

    def endpoint(self, endpoint: str) -> Optional[Local]:
        with self._lock:
            return self._endpoints.get(endpoint)

    def put_endpoint(self, record: EndpointRecord) -> None:
        """New, or with other names; its sandbox stays."""
        with self._lock:
            before = self._endpoints.get(record.id)
            since = before.since if before else self._clock()
            self._endpoints[record.id] = Local(record, before.sandbox if before else "", since)
            self._write()

    def set_sandbox(self, endpoint: str, sandbox: str) -> None:
        """Empty: it has left."""
        with self._lock:
            if endpoint in self._endpoints:
                self._endpoints[endpoint] = dataclasses.replace(self._endpoints[endpoint], sandbox=sandbox)
                self._write()

    def drop_endpoint(self, endpoint: str) -> Optional[Local]:
        with self._lock:
            gone = self._endpoints.pop(endpoint, None)
            if gone:
                self._write()
            return gone

    def neighbours(self, sandbox: str) -> List[Local]:
        """The endpoints that one container has in our networks."""
        with self._lock:
            return [one for one in self._endpoints.values() if sandbox and one.sandbox == sandbox]

    def sandboxes(self) -> Dict[str, List[str]]:
        """Endpoint id → ids of all networks that its container is in."""
        with self._lock:
            by_sandbox: Dict[str, List[str]] = {}
            for one in self._endpoints.values():
                if one.sandbox:
                    by_sandbox.setdefault(one.sandbox, []).append(one.record.network)
            return {
                one.record.id: by_sandbox[one.sandbox] if one.sandbox else [one.record.network]
                for one in self._endpoints.values()
            }

    def put_network(self, docker_id: str, record: NetworkRecord) -> None:
        with self._lock:
            if self._ids.get(docker_id) != record.id or self._networks.get(record.id) != record:
                self._ids[docker_id] = record.id
                self._networks[record.id] = record
                self._write()

    def drop_network(self, docker_id: str) -> None:
        with self._lock:
            network = self._ids.pop(docker_id, None)
            if network and network not in self._ids.values():
                self._networks.pop(network, None)
            if network:
                self._write()

    def network(self, docker_id: str) -> Optional[NetworkRecord]:
        """By Docker's id of the network on this machine."""
        with self._lock:
            return self._networks.get(self._ids.get(docker_id, docker_id))

    def networks(self) -> Dict[str, NetworkRecord]:
        """By their id in etcd."""
        with self._lock:
            return dict(self._networks)

    def docker_ids(self) -> Dict[str, str]:
        """Docker's id → the id in etcd."""
        with self._lock:
            return dict(self._ids)

    def remember_revision(self, revision: int) -> None:
        """Kept with the next change that is written."""
        with self._lock:
            self.revision = revision

    def _read(self) -> None:
        """A file that is damaged counts as none: the reconcile builds it anew from Docker."""
        try:
            with open(self._path, encoding="utf-8") as stream:
                document = json.load(stream)
            self.revision = int(document["revision"])
            self._ids = dict(document["ids"])
            for one in document["networks"]:
                network = decode(NetworkRecord, json.dumps(one).encode())
                self._networks[network.id] = network
            for one in document["endpoints"]:
                record = decode(EndpointRecord, json.dumps(one["record"]).encode())
                self._endpoints[record.id] = Local(record, one["sandbox"], one["since"])
        except (OSError, ValueError, KeyError, TypeError):
            return

    def _write(self) -> None:
        document: Dict[str, Any] = {
            "revision": self.revision,
            "ids": self._ids,
            "networks": [json.loads(encode(one)) for one in self._networks.values()],
            "endpoints": [
                {"record": json.loads(encode(one.record)), "sandbox": one.sandbox, "since": one.since}
                for one in self._endpoints.values()
            ],
        }
        temporary = f"{self._path}.tmp"
        os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120 - no pathlib here
        with open(temporary, "w", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), 0o600)
            json.dump(document, stream)
        os.replace(temporary, self._path)  # noqa: PTH105
