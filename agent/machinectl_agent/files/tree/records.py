"""The stream of a tree: records, one after the other; names are relative to the folder that was entered last.

    plan      JSON in the name: how many roots, which host                      first of all
    root      JSON in the name: what it is called, device and inode             then one entry
    file      content follows: `size` bytes; with VERIFIED its SHA-256 (32 bytes) after it
    rest      the same from an offset on (8 bytes before the content): the target has what is before
    keep      a file that the target has whole
    sparse    (offset, length) and that many bytes, again and again until (size, 0)
    enter … leave   a folder and what is in it; leave comes with nothing
    link      a symbolic link; its target follows: `size` bytes
    hard      another name of the file with the number `size`, counted over all with SEVERAL names
    node      a device or FIFO; `size` is its device number
    user, group     `uid` or `gid` is called like the name

Everything is big-endian. The same code is at both ends: no version but the wire's.
"""

from __future__ import annotations

import struct
from typing import NamedTuple, Protocol

from machinectl_agent.files.framing import broken

HEAD = struct.Struct(">BBHIqqIIQ")
EXTENT = struct.Struct(">QQ")
OFFSET = struct.Struct(">Q")

PLAN, ROOT, FILE, REST, KEEP, SPARSE, ENTER, LEAVE, LINK, HARD, NODE, USER, GROUP, END = range(14)

VERIFIED = 1
SEVERAL = 2
"""Flags of a record."""

DIGEST = 32
LONGEST = 65535
"""Bytes of a name; NAME_MAX is 255, and a plan is no longer."""


class Record(NamedTuple):
    kind: int
    flags: int
    mode: int
    mtime: int
    """Nanoseconds, as `atime`."""
    atime: int
    uid: int
    gid: int
    size: int
    name: bytes


class Readable(Protocol):
    def read(self, size: int) -> bytes:
        """That many bytes, fewer only at the end."""


def encode(
    kind: int,
    name: bytes = b"",
    *,
    flags: int = 0,
    mode: int = 0,
    mtime: int = 0,
    atime: int = 0,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
) -> bytes:
    return HEAD.pack(kind, flags, len(name), mode, mtime, atime, uid, gid, size) + name


def decode(source: Readable) -> Record:
    """Raises `Problem` where what comes is none of it."""
    head = exactly(source, HEAD.size)
    kind, flags, length, mode, mtime, atime, uid, gid, size = HEAD.unpack(head)
    name = exactly(source, length) if length else b""
    if kind > END:
        raise broken("what came is no record of a tree")
    if kind in _NAMED and (not name or b"/" in name or b"\0" in name or name in (b".", b"..")):
        raise broken(f"a name that no folder has: {name!r}")
    return Record(kind, flags, mode, mtime, atime, uid, gid, size, name)


_NAMED = (FILE, REST, KEEP, SPARSE, ENTER, LINK, HARD, NODE)


def exactly(source: Readable, size: int) -> bytes:
    content = source.read(size)
    if len(content) != size:
        raise broken("the tree ends in the middle")
    return content
