"""Watches over gRPC: several on one stream."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from machinectl.kv import requests
from machinectl.kv.channels import Channels
from machinectl.kv.package import rpc
from machinectl_agent.kv.endpoint import Endpoint
from machinectl_agent.kv.interface import DEADLINE, KvError, KvUnavailable, Page
from machinectl_agent.kv.source import Answer, Event, Position
from machinectl_agent.kv.wake import Wake

_PROBE = 3.0  # seconds


class Etcd3Source:
    """Source, see there. The channels are its own. etcd3's own Watcher is not used: it never resumes after a
    restart of etcd, and spins meanwhile."""

    def __init__(self, channels: Channels, read: Callable[..., Page]) -> None:
        self._channels = channels
        self._read = read

    def position(self, prefix: str) -> Position:
        request = rpc().RangeRequest(**requests.span(prefix, is_prefix=True), count_only=True)
        header = self._channels.call("kvstub", "Range", request, DEADLINE).header
        return Position(header.cluster_id, header.raft_term, header.revision)

    def snapshot(self, prefix: str) -> Page:
        return self._read(prefix, deadline=4 * DEADLINE)

    def open(self, starts: Sequence[tuple[str, int]]) -> Etcd3Stream:
        messages = rpc()
        creates = [
            messages.WatchCreateRequest(
                **requests.span(prefix, is_prefix=True), start_revision=revision, progress_notify=True
            )
            for prefix, revision in starts
        ]
        return Etcd3Stream(self._channels, [messages.WatchRequest(create_request=one) for one in creates])

    def close(self) -> None:
        self._channels.close()


class Etcd3Stream:
    """Stream, see there. A thread of its own takes the answers, as gRPC has no socket to wait on."""

    def __init__(self, channels: Channels, creates: Sequence[Any]) -> None:
        self._channels = channels
        self._endpoint: Endpoint = channels.first
        self._came = Wake()
        self._answers: deque[Answer | KvError] = deque()
        stub = rpc().WatchStub(channels.client(self._endpoint).channel)
        try:
            self._call = stub.Watch(iter(creates))
        except ValueError as error:  # closed meanwhile
            raise channels.fault(error, self._endpoint) from error
        self._thread = threading.Thread(target=self._take, name="etcd-watch", daemon=True)
        self._thread.start()

    def read(self, wake: Wake, seconds: float) -> list[Answer]:
        self._came.clear()
        if not self._answers:
            wake.wait(seconds, self._came.readable)
        found = []
        while self._answers:
            one = self._answers.popleft()
            if isinstance(one, KvError):
                self._channels.drop(self._endpoint)
                raise one
            found.append(one)
        return found

    def probe(self) -> None:
        request = rpc().StatusRequest()
        found = self._channels.call("maintenancestub", "Status", request, _PROBE, at=self._endpoint.url)
        if not found.leader:
            raise KvUnavailable(f"{self._endpoint.url}: etcd has no leader")

    def close(self) -> None:
        self._call.cancel()
        self._thread.join(DEADLINE)
        self._came.close()

    def _take(self) -> None:
        try:
            for found in self._call:
                self._answers.append(_answer(found))
                self._came.set()
            fault: KvError = KvUnavailable(f"{self._endpoint.url}: etcd has closed the watch")
        except Exception as error:
            fault = self._channels.fault(error, self._endpoint)
        self._answers.append(fault)
        self._came.set()


def _answer(found: Any) -> Answer:
    compacted = found.compact_revision > 0
    reason = requests.later_field(found, 6) or (b"compacted" if compacted else b"no reason given")
    return Answer(
        watch_id=found.watch_id,
        revision=found.header.revision,
        created=found.created,
        cancelled=reason.decode() if found.canceled or compacted else "",
        compacted=compacted,
        events=tuple(
            Event(
                one.kv.key.decode("utf-8", "surrogateescape"),
                None if one.type else one.kv.value,  # 0 PUT, 1 DELETE
                one.kv.mod_revision,
            )
            for one in found.events
        ),
    )
