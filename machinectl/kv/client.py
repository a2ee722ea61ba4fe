"""Etcd3: the controller's client."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from machinectl.kv import requests
from machinectl.kv.channels import Channels
from machinectl.kv.maintenance import Maintenance
from machinectl.kv.package import rpc
from machinectl.kv.watching import Etcd3Source
from machinectl_agent.kv.follow import Follower
from machinectl_agent.kv.interface import (
    DEADLINE,
    Compare,
    KeyValue,
    KvCompacted,
    KvUnavailable,
    LeaseGone,
    Operation,
    Page,
    TxnResult,
    Watch,
)
from machinectl_agent.kv.tls import Tls

_PAGE = 1000  # keys in one answer of a range
_RANGES = 3  # a range is begun again when a compaction overtakes it


class Etcd3(Maintenance):
    """Kv, see there, and Maintenance."""

    def __init__(self, endpoints: Sequence[str], *, tls: Tls | None = None) -> None:
        """`endpoints`: `https://10.0.0.1:2379`; asked in this order. Connects to nothing yet. Raises ValueError."""
        super().__init__(Channels(endpoints, tls))
        self._endpoints = tuple(endpoints)
        self._tls = tls

    def get(self, key: str, *, deadline: float = DEADLINE) -> KeyValue | None:
        request = rpc().RangeRequest(key=key.encode())
        found = self._channels.call("kvstub", "Range", request, deadline)
        return next((requests.key_value(one) for one in found.kvs), None)

    def range(self, prefix: str, *, keys_only: bool = False, deadline: float = DEADLINE) -> Page:
        return _read_range(self._channels, prefix, keys_only=keys_only, deadline=deadline)

    def put(self, key: str, value: bytes, *, lease: int = 0, deadline: float = DEADLINE) -> int:
        request = requests.put(key, value, lease)
        found = self._channels.call("kvstub", "Put", request, deadline, once=True)
        return int(found.header.revision)

    def delete(self, key: str, *, is_prefix: bool = False, deadline: float = DEADLINE) -> int:
        request = rpc().DeleteRangeRequest(**requests.span(key, is_prefix=is_prefix))
        return int(self._channels.call("kvstub", "DeleteRange", request, deadline, once=True).deleted)

    def txn(
        self,
        compares: Sequence[Compare],
        then: Sequence[Operation],
        otherwise: Sequence[Operation] = (),
        *,
        deadline: float = DEADLINE,
    ) -> TxnResult:
        request = rpc().TxnRequest(
            compare=[requests.compare(one) for one in compares],
            success=[requests.operation(one) for one in then],
            failure=[requests.operation(one) for one in otherwise],
        )
        return requests.txn_result(self._channels.call("kvstub", "Txn", request, deadline, once=True))

    def grant(self, ttl: int, *, deadline: float = DEADLINE) -> int:
        # one lease too many, when an answer was lost, ends by itself
        request = rpc().LeaseGrantRequest(TTL=ttl)
        return int(self._channels.call("leasestub", "LeaseGrant", request, deadline).ID)

    def keep_alive(self, lease: int, *, deadline: float = DEADLINE) -> int:
        def send(client: Any, seconds: float) -> int:
            request = rpc().LeaseKeepAliveRequest(ID=lease)
            stub = client.leasestub
            return sum(one.TTL for one in stub.LeaseKeepAlive(iter([request]), timeout=seconds))

        left = int(self._channels.run(send, deadline))
        if left <= 0:
            raise LeaseGone(f"the lease {lease:x} has ended")
        return left

    def revoke(self, lease: int, *, deadline: float = DEADLINE) -> None:
        try:
            self._channels.call("leasestub", "LeaseRevoke", rpc().LeaseRevokeRequest(ID=lease), deadline)
        except LeaseGone:
            pass

    def watch(self, prefixes: Sequence[str] = ()) -> Watch:
        # its own channels: `close` of a watch must wake nobody but its reader
        channels = Channels(self._endpoints, self._tls)

        def read(prefix: str, *, deadline: float) -> Page:
            return _read_range(channels, prefix, keys_only=False, deadline=deadline)

        return Follower(Etcd3Source(channels, read), prefixes)

    def close(self) -> None:
        self._channels.close()


def _read_range(channels: Channels, prefix: str, *, keys_only: bool, deadline: float) -> Page:
    """All keys at one revision, in pages: a page is decoded in pure Python, and the deadline is for all."""
    until = time.monotonic() + deadline
    for _ in range(_RANGES):
        try:
            return _read_pages(channels, prefix, keys_only=keys_only, until=until)
        except KvCompacted:
            continue  # the revision of the first page was compacted before the last page
    raise KvUnavailable(f"{prefix} can't be read: etcd compacts faster than we read")


def _read_pages(channels: Channels, prefix: str, *, keys_only: bool, until: float) -> Page:
    request = rpc().RangeRequest(**requests.span(prefix, is_prefix=True), limit=_PAGE, keys_only=keys_only)
    items: list[KeyValue] = []
    while True:
        found = channels.call("kvstub", "Range", request, until - time.monotonic())
        items += [requests.key_value(one) for one in found.kvs]
        request.revision = request.revision or found.header.revision
        if not found.more:
            return Page(request.revision, tuple(items))
        request.key = found.kvs[-1].key + b"\0"
