"""What an earlier copy, broken off, has left at a target: the other end sends only what is not there yet."""

from __future__ import annotations

import hashlib
import os
from typing import Any, Dict, List, Mapping, Sequence

from machinectl_agent.files.tree.faults import to_bytes, to_text

BLOCK = 4 * 1024 * 1024
"""Bytes that are compared at once; the last block is as long as it is."""

MOST = 8 * 1024 * 1024
"""Bytes of a list; a longer one is cut: what is not in it is sent again."""

Partial = Dict[str, List[Any]]
"""Path below the staging folder → [size, [SHA-256 of each block]]."""


def list_partial(args: Mapping[str, Any]) -> Dict[str, Any]:
    """The op `partial`: args target, names (as the consumer's) → partial, bytes."""
    from machinectl_agent.files.tree.staging import staging_path  # noqa: PLC0415 - it needs us

    meant: Sequence[str] = args.get("names") or ()
    only = to_bytes(str(meant[0])) if len(meant) == 1 else b""
    place = staging_path(to_bytes(str(args["target"])), only)
    found: Partial = {}
    size = length = 0
    for folder, _, names in os.walk(place):
        for name in sorted(names):
            path = os.path.join(folder, name)
            if os.path.islink(path) or not os.path.isfile(path):
                continue
            digests = block_digests(path)
            length += 80 + len(name) + 67 * len(digests)
            if length > MOST:
                break
            here = os.path.getsize(path)
            found[to_text(os.path.relpath(path, place))] = [here, digests]
            size += here
    return {"partial": found, "bytes": size}


def block_digests(path: bytes) -> List[str]:
    found = []
    with open(path, "rb", buffering=0) as file:
        while content := file.read(BLOCK):
            while len(content) < BLOCK and (more := file.read(BLOCK - len(content))):
                content += more
            found.append(hashlib.sha256(content).hexdigest())
    return found
