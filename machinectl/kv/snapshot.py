"""A backup of etcd: streamed into a file, checked, and only then under its name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machinectl.atomic import replacing
from machinectl.errors import StoreError
from machinectl.kv.channels import Channels
from machinectl.kv.package import rpc

_DIGEST = hashlib.sha256().digest_size
_SECTOR = 512  # a bbolt file is made of pages, which are multiples of it


@dataclass(frozen=True)
class Saved:
    """`size` in bytes; `sha256` of the file, in hex."""

    path: Path
    size: int
    sha256: str


def save_snapshot(channels: Channels, path: Path, endpoint: str, deadline: float) -> Saved:
    """0600, as keys' values are in it. etcd sends the store and then its SHA-256; both are the file. Raises
    KvError, StoreError (disk full; cut off or damaged on the way). Whatever was at `path` stays then."""

    def send(client: Any, seconds: float) -> Saved:
        with replacing(path, 0o600) as file:
            stream = client.maintenancestub.Snapshot(rpc().SnapshotRequest(), timeout=seconds)
            store, whole, size, tail = hashlib.sha256(), hashlib.sha256(), 0, b""
            for part in stream:
                file.write(part.blob)
                whole.update(part.blob)
                size += len(part.blob)
                tail += part.blob
                store.update(tail[:-_DIGEST])
                tail = tail[-_DIGEST:]
            if size % _SECTOR != _DIGEST or store.digest() != tail:
                raise StoreError(
                    f"the backup {path} was not written",
                    why=f"what etcd sent ({size} bytes) does not have the checksum that came with it",
                    hint="try again, or another member (--endpoint)",
                )
        return Saved(path, size, whole.hexdigest())

    found: Saved = channels.run(send, deadline, at=endpoint)
    return found
