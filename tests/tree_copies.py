"""Copies in one process: a producer's stream kept in memory, and a consumer that reads it, or a part of it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from machinectl_agent.files.framing import Sink, Source
from machinectl_agent.files.tree.consumer import consume_tree
from machinectl_agent.files.tree.faults import to_text
from machinectl_agent.files.tree.partial import list_partial
from machinectl_agent.files.tree.producer import produce_tree


class Pipe:
    """A transport in memory."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = bytearray(content)
        self._position = 0

    def send(self, view):
        self.content += view

    def receive_into(self, view):
        part = self.content[self._position : self._position + len(view)]
        view[: len(part)] = part
        self._position += len(part)
        return len(part)


class Said:
    """A session that keeps what it is told."""

    gone = False

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.events: list[Any] = []

    def log(self, text):
        self.lines.append(text)

    def emit(self, message):
        self.events.append(message)


def text(path) -> str:
    return to_text(os.fsencode(path))


def stream_of(*sources, said=None, **args) -> bytes:
    """The whole stream, end mark and all."""
    pipe = Pipe()
    sink: Any = Sink(pipe)
    produce_tree({"sources": [text(one) for one in sources], **args}, sink, said or Said())
    sink.finish()
    return bytes(pipe.content)


def put(stream: bytes, target, said=None, **args) -> dict[str, Any]:
    source: Any = Source(Pipe(stream))
    return consume_tree({"target": text(target), **args}, source, said or Said())


def copy(*words, said=None, **args) -> dict[str, Any]:
    """`copy(source…, target, archive=…)`."""
    *sources, target = words
    return put(stream_of(*sources, said=said, **args), target, said, **args)


def partial_of(target, **args) -> dict[str, Any]:
    return dict(list_partial({"target": text(target), **args})["partial"])


def look(path: Path) -> dict[bytes, Any]:
    """All of a tree that a copy keeps with -a: kind, mode, content or target, mtime."""
    found: dict[bytes, Any] = {}
    for folder, folders, names in os.walk(os.fsencode(path)):
        for name in [*folders, *names, b"."]:
            one = os.path.join(folder, name)  # noqa: PTH118 - bytes
            status = os.lstat(one)
            key = os.path.relpath(one, os.fsencode(path))
            if stat.S_ISLNK(status.st_mode):
                content: Any = os.readlink(one)  # noqa: PTH115 - bytes
            elif stat.S_ISREG(status.st_mode):
                content = Path(os.fsdecode(one)).read_bytes()
            else:
                content = b""
            found[key] = (status.st_mode, content, status.st_mtime_ns, status.st_nlink)
    return found
