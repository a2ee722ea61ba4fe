"""A backup's file: a tar that says itself what it is, and whose last 10 KiB say whether it is whole. Pure.

    machinectl-volume.json     the head: name, driver, options and labels of the volume, machine, time
    ./ …                       GNU tar's stream, as it is, with its end mark
    (the trailer)              the tree's SHA-256, how many entries and bytes it has; the head's SHA-256

All of it goes through zstd or gzip. `tar -xf` unpacks it, too: what is behind the end mark it does not read.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from typing import Any, Dict, Mapping

from machinectl_agent.problems import Problem
from machinectl_agent.volumes.tarball import Digest, NotTar, parse_number

FORMAT = 1
HEAD = "machinectl-volume.json"
TRAILER = "machinectl-volume.sums.json"
TRAILER_SIZE = 10240
"""Bytes; fixed, so that a reader knows the trailer without having parsed all before it."""

_BLOCK = 512
_LARGEST = 4 * 1024 * 1024


def render_head(document: Mapping[str, Any]) -> bytes:
    return _member(HEAD, json.dumps({"format": FORMAT, **document}, indent=1).encode() + b"\n")


def render_trailer(digest: Digest, head: bytes) -> bytes:
    """`head`: the bytes of `render_head`."""
    document = {"format": FORMAT, **digest.to_json(), "head": hashlib.sha256(head).hexdigest()}
    return _member(TRAILER, json.dumps(document, indent=1).encode() + b"\n").ljust(TRAILER_SIZE, b"\0")


def head_size(block: bytes) -> int:
    """How many bytes the head has, from its first 512. Raises `Problem` where the file is no backup of ours."""
    return _size(block, HEAD)


def parse_head(content: bytes) -> Dict[str, Any]:
    """All of it: `head_size` bytes. Raises `Problem`."""
    return _document(content, HEAD)


def parse_trailer(content: bytes, head: bytes) -> Digest:
    """Raises `Problem` `backup-damaged`: nothing behind a file that was cut off is a trailer."""
    try:
        document = _document(content, TRAILER)
        if document["head"] != hashlib.sha256(head).hexdigest():
            raise damaged("what it says of the volume has changed")
        return Digest.from_json(document)
    except (KeyError, ValueError) as error:
        raise damaged(f"its end is no end: {error}") from error


def damaged(why: str) -> Problem:
    return Problem(
        "backup-damaged", "the backup is damaged", why=why, hint="nothing was changed; take another backup"
    )


def _member(name: str, content: bytes) -> bytes:
    about = tarfile.TarInfo(name)
    about.size, about.mode = len(content), 0o600
    padding = -len(content) % _BLOCK
    return about.tobuf(tarfile.USTAR_FORMAT) + content + b"\0" * padding


def _size(block: bytes, name: str) -> int:
    if block[:100].rstrip(b"\0") != name.encode():
        if name == TRAILER:
            raise damaged("it is cut off: its end is missing")
        raise Problem(
            "no-backup",
            "this is no backup of a volume",
            why=f"it does not begin with {name}",
            hint="`machinectl volume backup` makes one",
        )
    try:
        size = parse_number(block[124:136])
    except NotTar as error:
        raise damaged(str(error)) from error
    if size > _LARGEST:
        raise damaged(f"{name} has {size} bytes")
    return _BLOCK + size + -size % _BLOCK


def _document(content: bytes, name: str) -> Dict[str, Any]:
    _size(content[:_BLOCK], name)
    size = parse_number(content[124:136])
    try:
        found: Dict[str, Any] = json.loads(content[_BLOCK : _BLOCK + size])
        version = found["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(f"{name} can't be read: {error}") from error
    if version != FORMAT:
        raise Problem(
            "backup-format", f"the backup is of format {version}", hint="a newer machinectl can read it"
        )
    return found
