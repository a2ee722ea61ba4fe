"""All keys with a prefix, however many: read in pages at one revision."""

from __future__ import annotations

import time
from typing import List

from machinectl_agent.kv import messages
from machinectl_agent.kv.interface import KeyValue, KvCompacted, KvUnavailable, Page
from machinectl_agent.kv.transport import Transport

PAGE = 1000
"""Keys in one answer."""

_RANGES = 3  # a range is begun again when a compaction overtakes it


def read_range(transport: Transport, prefix: str, *, keys_only: bool, deadline: float) -> Page:
    """All keys at one revision, in pages."""
    until = time.monotonic() + deadline
    for _ in range(_RANGES):
        try:
            return _read_pages(transport, prefix, keys_only=keys_only, until=until)
        except KvCompacted:
            continue  # the revision of the first page was compacted before the last page
    raise KvUnavailable(f"{prefix} can't be read: etcd compacts faster than we read")


def _read_pages(transport: Transport, prefix: str, *, keys_only: bool, until: float) -> Page:
    body = {**messages.span(prefix, is_prefix=True), "limit": str(PAGE), "keys_only": keys_only}
    items: List[KeyValue] = []
    revision = 0
    while True:
        found = transport.call("/kv/range", body, until - time.monotonic())
        revision = revision or messages.revision(found)
        items += messages.key_values(found)
        if not found.get("more"):
            return Page(revision, tuple(items))
        behind = items[-1].key.encode("utf-8", "surrogateescape") + b"\0"
        body = {**body, "key": messages.encode(behind), "revision": str(revision)}
