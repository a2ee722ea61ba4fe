"""A backup's stream, taken apart: the head at once, the tree while it comes, the trailer at the end."""

from __future__ import annotations

from types import TracebackType
from typing import Any, BinaryIO, Callable, Dict, Optional, Tuple, Type

from machinectl_agent.files.tree.settling import FEW
from machinectl_agent.problems import Problem
from machinectl_agent.volumes.compress import CHUNK, Expander
from machinectl_agent.volumes.frame import TRAILER_SIZE, damaged, head_size, parse_head, parse_trailer
from machinectl_agent.volumes.tarball import Digest, Meter, NotTar
from machinectl_agent.volumes.tree import extracting, feed

_BLOCK = 512


class Arrived:
    """What is behind the head."""

    def __init__(self, expander: Expander, head: bytes, rest: bytes, log: Callable[[str], None]) -> None:
        self._expander = expander
        self._head = head
        self._rest = rest
        self._log = log
        self.few = False
        """So far, files that can be synced one by one, and nothing that can't be synced alone."""

    def extract(
        self,
        folder: str,
        *,
        strict: bool = False,
        wrote: Callable[[int], None] = lambda _: None,
    ) -> Digest:
        """The tree into an empty folder. Raises `Problem` where it did not come whole; `strict`: also where tar
        could not make all of it. `wrote`: so many bytes more went to tar."""
        meter = Meter()
        with extracting(folder, self._log, strict=strict) as write:

            def take(part: memoryview) -> None:
                feed(meter, part)
                write(part)
                self.few = meter.entries <= FEW and meter.plain
                wrote(len(part))

            trailer = self._pass_on(take)
        wanted = parse_trailer(trailer, self._head)
        try:
            found = meter.digest()
        except NotTar as error:
            raise damaged(str(error)) from error
        if found != wanted:
            raise damaged(
                f"SHA-256 {found.sha256[:16]}… of {found.entries} entries, {wanted.sha256[:16]}… of "
                f"{wanted.entries} is wanted"
            )
        return found

    def _pass_on(self, take: Callable[[memoryview], None]) -> bytes:
        """All but the last bytes, which are the trailer and are returned. A piece is good until the next."""
        buffer = memoryview(bytearray(len(self._rest) + CHUNK + TRAILER_SIZE))
        have = len(self._rest)
        buffer[:have] = self._rest
        came = 1
        while came:
            # many small pieces are one write to tar
            while came and have < len(buffer):
                came = self._expander.readinto(buffer[have:])
                have += came
            if have > TRAILER_SIZE:
                take(buffer[: have - TRAILER_SIZE])
                buffer[:TRAILER_SIZE] = bytes(buffer[have - TRAILER_SIZE : have])
                have = TRAILER_SIZE
        return bytes(buffer[:have])

    def __enter__(self) -> Arrived:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self._expander.close()


def unpack(source: BinaryIO, log: Callable[[str], None]) -> Tuple[Dict[str, Any], Arrived]:
    """The head's document and what is behind it. Raises `Problem`."""
    expander = Expander(source)
    try:
        content = _at_least(expander, b"", _BLOCK)
        size = head_size(content[:_BLOCK])
        content = _at_least(expander, content, size)
        document = parse_head(content[:size])
    except BaseException:
        expander.close()
        raise
    return document, Arrived(expander, content[:size], content[size:], log)


def _at_least(expander: Expander, content: bytes, size: int) -> bytes:
    while len(content) < size:
        part = expander.read()
        if not part:
            if not content:
                raise Problem("no-backup", "this is no backup of a volume", why="it is empty")
            raise damaged("it is cut off")
        content += part
    return content
