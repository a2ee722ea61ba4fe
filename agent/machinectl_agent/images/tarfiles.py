"""One tar in, one tar out, entry by entry: what is in between is never more than a block of it."""

from __future__ import annotations

import tarfile
from typing import Any, BinaryIO, Callable, Iterator, Optional

BLOCK = 1024 * 1024
SMALL = 4 * 1024 * 1024
"""Bytes. manifest.json, configurations and the like have a few thousand; layers are not kept in memory."""


class BrokenArchive(Exception):
    """A tar that ends early, or is none; the text says which."""


class Entry:
    """A member that is passing by; its content can be read once, or not at all."""

    def __init__(self, member: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
        self.member = member
        self.name = member.name.removeprefix("./")
        self._archive = archive
        self._kept: Optional[bytes] = None

    @property
    def small(self) -> bool:
        return self.member.isreg() and self.member.size <= SMALL

    def content(self) -> bytes:
        """Of a small one; may be asked for again."""
        if self._kept is None:
            self._kept = b"".join(self.parts())
        return self._kept

    def parts(self) -> Iterator[bytes]:
        """Raises `BrokenArchive` where the tar ends within it."""
        if self._kept is not None:
            yield self._kept
            return
        if not self.member.isreg():
            return
        stream = self._archive.extractfile(self.member)
        left = self.member.size
        while stream is not None and left:
            try:
                part = stream.read(min(BLOCK, left))
            except tarfile.TarError as error:
                raise BrokenArchive(f"it ends in the middle of {self.name}") from error
            if not part:
                raise BrokenArchive(f"it ends in the middle of {self.name}")
            left -= len(part)
            yield part

    def header(self) -> bytes:
        return self.member.tobuf(tarfile.GNU_FORMAT)


def entries(source: BinaryIO) -> Iterator[Entry]:
    """Every member in turn. Raises `BrokenArchive`; what `source.read` raises goes through."""
    # what is skipped in a file need not be read
    seeks = getattr(source, "seekable", None)
    mode: Any = "r:" if seeks is not None and seeks() else "r|"
    try:
        archive = tarfile.open(fileobj=source, mode=mode, bufsize=BLOCK)  # noqa: SIM115 - the stream is the caller's
    except tarfile.TarError as error:
        raise BrokenArchive(_words(error)) from error
    while True:
        try:
            member = archive.next()
        except tarfile.TarError as error:
            raise BrokenArchive(_words(error)) from error
        if member is None:
            return
        yield Entry(member, archive)
        archive.members = []  # type: ignore[attr-defined] # else it keeps every member that it has seen


def copy(source: BinaryIO, sink: BinaryIO, wanted: Callable[[Entry], bool]) -> int:
    """Passes on the entries that are `wanted`, in a tar without an end yet (`finish`). Returns its bytes."""
    written = 0
    for entry in entries(source):
        if not wanted(entry):
            continue
        header = entry.header()
        sink.write(header)
        written += len(header) + entry.member.size * entry.member.isreg()
        for part in entry.parts():  # noqa: FURB122 - the sink of a carry has no writelines
            sink.write(part)
        if entry.member.isreg():
            written += pad(sink, entry.member.size)
    return written


def add(sink: BinaryIO, name: str, content: bytes) -> int:
    """One more file. Returns its bytes."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    header = member.tobuf(tarfile.GNU_FORMAT)
    sink.write(header)
    sink.write(content)
    return len(header) + len(content) + pad(sink, len(content))


def finish(sink: BinaryIO) -> int:
    """The end mark. Returns its bytes."""
    sink.write(b"\0" * 1024)
    return 1024


def pad(sink: BinaryIO, size: int) -> int:
    """Up to the next block. Returns its bytes."""
    rest = -size % tarfile.BLOCKSIZE
    if rest:
        sink.write(b"\0" * rest)
    return rest


def _words(error: tarfile.TarError) -> str:
    text = str(error)
    return "it is no tar file" if "file could not be opened" in text or "invalid header" in text else text
