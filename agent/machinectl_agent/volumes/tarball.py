"""What a tar stream holds, told from its headers as it passes by (POSIX.1-2001 pax, GNU's and ustar's). Pure.

The digest is the tree's, not that of the stream's bytes: versions of tar fill unused fields and write ACLs in
other ways, and file systems name a file's attributes in different orders.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Union

_BLOCK = 512
_ABOUT_THE_NEXT = b"xgLK"
"""Types of members that only describe the one behind them."""

_DEVICES = b"34"
_PLAIN = b"0\x005"
"""Types of files and folders."""

_LONGEST = 64 * 1024 * 1024
"""Bytes of a pax header: names, attributes of 64 KiB each, and where a file's holes are, 60 bytes each."""


class NotTar(ValueError):
    """What came is no tar stream."""


@dataclass(frozen=True)
class Digest:
    """Of a tree."""

    sha256: str
    entries: int
    """The tree's own folder among them."""
    bytes: int
    """In files, without holes."""

    def to_json(self) -> Dict[str, Any]:
        return {"sha256": self.sha256, "entries": self.entries, "bytes": self.bytes}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Digest:
        """Raises KeyError and ValueError."""
        return cls(str(found["sha256"]), int(found["entries"]), int(found["bytes"]))


class Meter:
    """Is fed with a stream, cut anywhere."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self.entries = 0
        """So far."""
        self.plain = True
        """All of them are files and folders."""
        self._bytes = 0
        self._ended = False
        self._skip = 0
        """Bytes of the member that are still to come, with its padding."""
        self._part = bytearray()
        self._pax = 0
        """Bytes of the pax header that is being read, with its padding; 0: a member's header comes."""
        self._pax_size = 0
        self._next_size = -1

    def feed(self, content: Union[bytes, bytearray, memoryview]) -> None:
        """Raises `NotTar`."""
        view = memoryview(content)
        at, size = 0, len(view)
        while at < size and not self._ended:
            if self._skip:
                step = min(self._skip, size - at)
                self._sha256.update(view[at : at + step])
                self._skip -= step
                at += step
                continue
            if not self._part and not self._pax and size - at >= _BLOCK:
                self._header(bytes(view[at : at + _BLOCK]))
                at += _BLOCK
                continue
            wanted = self._pax or _BLOCK
            step = min(wanted - len(self._part), size - at)
            self._part += view[at : at + step]
            at += step
            if len(self._part) == wanted:
                part, self._part = bytes(self._part), bytearray()
                if self._pax:
                    self._describe(part[: self._pax_size])
                else:
                    self._header(part)

    def digest(self) -> Digest:
        """Raises `NotTar` where the end mark has not come."""
        if not self._ended:
            raise NotTar("it is cut off")
        return Digest(self._sha256.hexdigest(), self.entries, self._bytes)

    def _header(self, block: bytes) -> None:
        kind = block[156:157]
        if kind == b"\0" and not block.strip(b"\0"):
            self._ended = True
            return
        size = parse_number(block[124:136])
        padded = (size + _BLOCK - 1) // _BLOCK * _BLOCK
        if kind == b"x" and size:
            if size > _LONGEST:
                raise NotTar("a pax header is too long")
            self._pax, self._pax_size = padded, size
            return
        # without the checksum, and without a device's numbers where it is none
        device = block[329:345] if kind in _DEVICES else b""
        self._sha256.update(block[:148] + block[156:257] + device + block[345:500])
        if self._next_size >= 0:
            size, self._next_size = self._next_size, -1
            padded = (size + _BLOCK - 1) // _BLOCK * _BLOCK
        self._skip = padded
        if kind not in _ABOUT_THE_NEXT:
            self.entries += 1
            self.plain = self.plain and kind in _PLAIN
            self._bytes += size

    def _describe(self, content: bytes) -> None:
        self._pax = 0
        records = pax_records(content)
        for record in sorted(records):
            # versions of tar end an ACL with a newline, or don't
            self._sha256.update(record.rstrip(b"\n") if record.startswith(b"SCHILY.acl.") else record)
            if record.startswith(b"size="):
                # files of 8 GiB and more: the header's field has no room for it
                self._next_size = int(record[5:])


def parse_number(field: bytes) -> int:
    """Octal, or GNU's base 256 where the first bit is set. Raises `NotTar`."""
    if field[0] & 0x80:
        return int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        raise NotTar(f"{field!r} is no number of a tar header") from None


def pax_records(content: bytes) -> List[bytes]:
    """KEY=VALUE, without length and newline. Values may hold newlines, so records are taken by their lengths. Raises
    `NotTar`."""
    found, at = [], 0
    while at < len(content):
        space = content.find(b" ", at, at + 20)
        if space < 0 or not content[at:space].isdigit():
            raise NotTar("a pax header is damaged")
        end = at + int(content[at:space])
        if end <= space or end > len(content):
            raise NotTar("a pax header is damaged")
        found.append(content[space + 1 : end - 1])
        at = end
    return found
