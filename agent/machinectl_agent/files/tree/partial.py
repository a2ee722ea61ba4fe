"""What an earlier copy, broken off, has left at a target: the other end sends only what is not there yet."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import Any, Dict, List, Mapping, Sequence

from machinectl_agent.files.tree.faults import to_bytes, to_text

BLOCK = 4 * 1024 * 1024
"""Bytes that are compared at once; the last block is as long as it is."""

MOST = 8 * 1024 * 1024
"""Bytes of a list; a longer one is cut: what is not in it is sent again."""

Partial = Dict[str, List[Any]]
"""Path below the staging folder → [size, [SHA-256 of each block]]."""


def list_partial(args: Mapping[str, Any]) -> Dict[str, Any]:
    """The op `partial`: args target, names (as the consumer's) → partial, bytes. Raises `Problem` where the earlier
    copy is still at it."""
    from machinectl_agent.files.tree.staging import open_left  # noqa: PLC0415 - it needs us

    meant: Sequence[str] = args.get("names") or ()
    only = to_bytes(str(meant[0])) if len(meant) == 1 else b""
    left = open_left(to_bytes(str(args["target"])), only)
    if left is None:
        return {"partial": {}, "bytes": 0}
    try:
        return _list(left)
    finally:
        os.close(left)


def _list(left: int) -> Dict[str, Any]:
    found: Partial = {}
    size = length = 0
    for path, _, names, folder in os.fwalk(b".", dir_fd=left):
        for name in sorted(names):
            here = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISREG(here.st_mode):
                continue
            digests = block_digests(name, folder)
            length += 80 + len(name) + 67 * len(digests)
            if length > MOST:
                break
            found[to_text(os.path.normpath(os.path.join(path, name)))] = [here.st_size, digests]
            size += here.st_size
    return {"partial": found, "bytes": size}


def block_digests(name: bytes, folder: int) -> List[str]:
    found = []
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    with open(descriptor, "rb", buffering=0) as file:
        while content := file.read(BLOCK):
            while len(content) < BLOCK and (more := file.read(BLOCK - len(content))):
                content += more
            found.append(hashlib.sha256(content).hexdigest())
    return found
