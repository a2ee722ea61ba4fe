"""The content of one file into the stream: whole, the rest of it, or without its holes."""

from __future__ import annotations

import hashlib
import os
from typing import Any, BinaryIO, Callable, List, Optional, Sequence

from machinectl_agent.files.tree.faults import changed
from machinectl_agent.files.tree.partial import BLOCK
from machinectl_agent.files.tree.records import EXTENT, OFFSET

CHUNK = 1024 * 1024

Progress = Callable[[int], None]


class ContentReader:
    """Keeps one buffer for all files."""

    def __init__(self, sink: BinaryIO, progress: Progress) -> None:
        self._sink = sink
        self._progress = progress
        self._buffer = memoryview(bytearray(CHUNK))

    def whole(self, descriptor: int, size: int, digest: Optional[Any], path: bytes) -> None:
        """`size` bytes from where the descriptor is. Raises `Problem` where there are fewer."""
        left = size
        while left:
            view = self._buffer[: min(CHUNK, left)]
            came = os.readv(descriptor, [view])
            if not came:
                raise changed(path)
            if digest:
                digest.update(view[:came])
            self._sink.write(view[:came])
            left -= came
            self._progress(came)

    def sparse(self, descriptor: int, size: int, digest: Optional[Any], path: bytes) -> None:
        """What is between holes. The digest is of the file as it is read, holes as zeros."""
        position = 0
        for start, end in extents(descriptor, size):
            _update_zeros(digest, start - position)
            os.lseek(descriptor, start, os.SEEK_SET)
            self._sink.write(EXTENT.pack(start, end - start))
            self.whole(descriptor, end - start, digest, path)
            position = end
        _update_zeros(digest, size - position)
        self._sink.write(EXTENT.pack(size, 0))

    def rest(self, descriptor: int, size: int, offset: int, digest: Optional[Any], path: bytes) -> None:
        """From `offset` on, which the digest is at already."""
        self._sink.write(OFFSET.pack(offset))
        os.lseek(descriptor, offset, os.SEEK_SET)
        self.whole(descriptor, size - offset, digest, path)


def extents(descriptor: int, size: int) -> Sequence[tuple[int, int]]:
    """Where there is data (lseek(2), SEEK_DATA); all of it where the file system does not say."""
    found: List[tuple[int, int]] = []
    position = 0
    try:
        while position < size:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
            end = min(os.lseek(descriptor, start, os.SEEK_HOLE), size)
            if start >= size:
                break
            found.append((start, end))
            position = end
    except OSError as error:
        import errno  # noqa: PLC0415 - only here

        if error.errno != errno.ENXIO:  # ENXIO: only a hole is left
            return [(0, size)] if size else []
    return found


def equal_until(descriptor: int, size: int, have: int, digests: Sequence[str], whole: Optional[Any]) -> int:
    """How many bytes the target has already: compared block by block. `whole` is brought up to there."""
    position = 0
    os.lseek(descriptor, 0, os.SEEK_SET)
    for digest in digests:
        length = min(BLOCK, have - position)
        if position + length > size:
            break
        content = os.pread(descriptor, length, position)
        while len(content) < length:
            more = os.pread(descriptor, length - len(content), position + len(content))
            if not more:
                return position
            content += more
        if hashlib.sha256(content).hexdigest() != digest:
            break
        if whole:
            whole.update(content)
        position += length
    return position


_ZEROS = bytes(CHUNK)


def _update_zeros(digest: Optional[Any], size: int) -> None:
    while digest and size > 0:
        digest.update(_ZEROS[: min(size, CHUNK)])
        size -= CHUNK
