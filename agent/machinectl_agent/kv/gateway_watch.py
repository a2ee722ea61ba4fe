"""Watches over the JSON gateway: several on one connection, read without blocking anybody.

All create requests are in one body: over HTTP/1.1 the gateway reads nothing more once it answers. `Connection:
close` is needed for that: without it Go's server throws away what it has not read of the body when
the first answer is written, and of 1,000 watches 20 were created (etcd 3.4.23).
"""

from __future__ import annotations

import json
import ssl
import time
from base64 import b64decode
from http.client import HTTPException
from typing import Any, Dict, List, Sequence, Tuple

from machinectl_agent.kv import faults, messages
from machinectl_agent.kv.connection import Connection
from machinectl_agent.kv.interface import DEADLINE, KvUnavailable, Page
from machinectl_agent.kv.ranges import read_range
from machinectl_agent.kv.source import Answer, Event, Position
from machinectl_agent.kv.transport import Transport
from machinectl_agent.kv.wake import Wake

_PROBE = 3.0  # seconds
_PART = 1 << 16


class GatewaySource:
    """Source, see there. The transport is its own."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def position(self, prefix: str) -> Position:
        body = {**messages.span(prefix, is_prefix=True), "count_only": True}
        header = self._transport.call("/kv/range", body, DEADLINE).get("header", {})
        return Position(
            int(header.get("cluster_id", 0)), int(header.get("raft_term", 0)), int(header.get("revision", 0))
        )

    def snapshot(self, prefix: str) -> Page:
        return read_range(self._transport, prefix, keys_only=False, deadline=4 * DEADLINE)

    def open(self, starts: Sequence[Tuple[str, int]]) -> GatewayStream:
        endpoint = self._transport.first
        until = time.monotonic() + DEADLINE
        connection = self._transport.connect(endpoint, until)
        requests = [
            {
                "create_request": {
                    **messages.span(prefix, is_prefix=True),
                    "start_revision": str(revision),
                    "progress_notify": True,
                }
            }
            for prefix, revision in starts
        ]
        body = "\n".join(json.dumps(one, separators=(",", ":")) for one in requests).encode("ascii")
        try:
            connection.send(self._transport.path(endpoint, "/watch"), body, until, last=True)
        except (OSError, HTTPException) as error:
            self._transport.drop(connection)
            raise faults.from_exception(error, endpoint.url) from error
        return GatewayStream(self._transport, connection)

    def close(self) -> None:
        self._transport.close()


class GatewayStream:
    """Stream, see there."""

    def __init__(self, transport: Transport, connection: Connection) -> None:
        assert connection.socket
        self._transport = transport
        self._connection = connection
        self._socket = connection.socket
        self._socket.settimeout(0)
        self._url = connection.endpoint.url
        self._decoder = Decoder(self._url)

    def read(self, wake: Wake, seconds: float) -> List[Answer]:
        found = self._drain()
        if not found:
            wake.wait(seconds, self._socket)
            found = self._drain()
        return found

    def probe(self) -> None:
        # another connection: it shows whether the member is alive; a link that is dead takes both
        status = messages.status(self._transport.call("/maintenance/status", {}, _PROBE, at=self._url))
        if not status.leader:
            raise KvUnavailable(f"{self._url}: etcd has no leader")

    def close(self) -> None:
        self._transport.drop(self._connection)

    def _drain(self) -> List[Answer]:
        """What has come, without waiting."""
        found: List[Answer] = []
        try:
            while not found:  # one part at a time: what was understood is handed out before the next is read
                part = self._socket.recv(_PART)
                if not part:
                    raise self._decoder.ended()
                found = [_answer(one) for one in self._decoder.feed(part)]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise faults.from_exception(error, self._url) from error
        return found


class Decoder:
    """HTTP/1.1 with a chunked body of JSON lines, fed as it comes."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._raw = bytearray()
        self._text = bytearray()
        self._status = 0
        self._chunked = False

    def feed(self, part: bytes) -> List[Dict[str, Any]]:
        """The results that are complete. Raises KvError for an error of etcd, ValueError for what is no HTTP."""
        self._raw += part
        if not self._status and not self._head():
            return []
        if self._chunked:
            self._chunks()
        else:
            self._text += self._raw
            self._raw.clear()
        if self._status != 200:
            return []  # `ended` tells, when all of it has come
        *lines, rest = self._text.split(b"\n")
        self._text = rest
        return [self._result(line) for line in lines if line.strip()]

    def ended(self) -> Exception:
        """Why the other side has closed."""
        if self._status not in (0, 200):
            return faults.from_body(self._status, bytes(self._text), self._url)
        return KvUnavailable(f"{self._url}: etcd has closed the watch")

    def _head(self) -> bool:
        end = self._raw.find(b"\r\n\r\n")
        if end < 0:
            return False
        lines = bytes(self._raw[:end]).decode("latin-1").split("\r\n")
        del self._raw[: end + 4]
        self._status = int(lines[0].split(" ")[1])
        self._chunked = any("chunked" in one for one in map(str.lower, lines) if "encoding" in one)
        return True

    def _chunks(self) -> None:
        position = 0
        while True:
            end = self._raw.find(b"\r\n", position)
            if end < 0:
                break
            size = int(bytes(self._raw[position:end]).split(b";")[0], 16)
            start, behind = end + 2, end + 2 + size + 2
            if len(self._raw) < behind:
                break
            self._text += self._raw[start : start + size]
            position = behind
        del self._raw[:position]

    def _result(self, line: bytearray) -> Dict[str, Any]:
        found = json.loads(line)
        if "error" in found:
            raise faults.from_message(found, self._url)
        result: Dict[str, Any] = found["result"]
        return result


def _answer(found: Dict[str, Any]) -> Answer:
    compacted = int(found.get("compact_revision", 0)) > 0
    reason = found.get("cancel_reason") or ("compacted" if compacted else "no reason given")
    return Answer(
        watch_id=int(found.get("watch_id", 0)),
        revision=messages.revision(found),
        created=bool(found.get("created")),
        cancelled=str(reason) if found.get("canceled") or compacted else "",
        compacted=compacted,
        events=tuple(_event(one) for one in found.get("events", ())),
    )


def _event(found: Dict[str, Any]) -> Event:
    kv = found["kv"]
    deleted = found.get("type", "PUT") == "DELETE"
    return Event(
        b64decode(kv["key"]).decode("utf-8", "surrogateescape"),
        None if deleted else b64decode(kv.get("value", "")),
        int(kv["mod_revision"]),
    )
