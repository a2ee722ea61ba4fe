"""A backup's stream into a file, on a machine or on the controller's computer."""

from __future__ import annotations

import hashlib
from typing import BinaryIO, Tuple, cast

from machinectl_agent.volumes.compress import CHUNK, NONE, ZSTD, Squeezer, has_zstd, kind_of


class _Counted:
    """A file that is hashed while it is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.size = 0

    def write(self, part: bytes) -> int:
        self._file.write(part)
        self.sha256.update(part)
        self.size += len(part)
        return len(part)


def store_stream(source: BinaryIO, file: BinaryIO, compress: str) -> Tuple[str, int]:
    """A backup's stream into a file: SHA-256 and size of the file. What comes uncompressed is compressed here where
    that is wanted and zstd is there."""
    counted = _Counted(file)
    first = source.read(CHUNK)
    squeeze = kind_of(first) == NONE and compress in ("", ZSTD) and has_zstd()
    squeezer = Squeezer(ZSTD if squeeze else NONE, cast(BinaryIO, counted))
    try:
        while first:
            squeezer.write(first)
            first = source.read(CHUNK)
        squeezer.close()
    finally:
        squeezer.abandon()
    return counted.sha256.hexdigest(), counted.size
