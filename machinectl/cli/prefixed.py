"""Lines of many machines on one stdout and one stderr: each headed by its machine's name, none torn."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Sequence
from typing import BinaryIO

LONGEST = 256 * 1024
"""Bytes; a longer line is shown in several, or a host that never ends a line would fill our memory."""

_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
"""SGR foreground colours (ECMA-48, 8.3.117), the dark and the light ones; no red: it means an error to most."""

_STEERING = re.compile(r"\x1b\[[0-9;]*m")


class Prefixed:
    """A sink for output as it comes. Safe in threads: a line is written in one piece, under a lock."""

    def __init__(self, names: Sequence[str], out: BinaryIO, err: BinaryIO) -> None:
        self._streams = {"stdout": out, "stderr": err}
        self._terminal = {kind: stream.isatty() for kind, stream in self._streams.items()}
        self._heads = {
            kind: {name: head(name, names, colour=self._coloured(kind)) for name in names}
            for kind in self._streams
        }
        self._left: dict[tuple[str, str], bytes] = {}
        self._writing = threading.Lock()

    def write(self, name: str, kind: str, part: bytes) -> None:
        """`kind`: stdout or stderr. An empty part ends the stream: a last line without a newline gets one."""
        # each (name, kind) belongs to one thread: only writing needs the lock
        text = self._left.pop((name, kind), b"") + part
        lines = text.splitlines(keepends=True) if b"\r" not in text else _split(text)
        if part and lines and not lines[-1].endswith(b"\n") and len(lines[-1]) < LONGEST:
            self._left[name, kind] = lines.pop()
        if lines:
            shown = b"".join(self._render(name, kind, line) for line in lines)
            with self._writing:
                self._streams[kind].write(shown)
                self._streams[kind].flush()

    def _render(self, name: str, kind: str, line: bytes) -> bytes:
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        if self._terminal[kind]:
            line = harmless(line.decode(errors="replace")).encode()
        return self._heads[kind][name] + line + b"\n"

    def _coloured(self, kind: str) -> bool:
        return self._terminal[kind] and not os.environ.get("NO_COLOR")


def head(name: str, names: Sequence[str], *, colour: bool) -> bytes:
    """`web1  | `, as wide as the longest name; the bar and the name in the machine's own colour."""
    text = f"{name:{max(map(len, names))}} |"
    if colour:
        text = f"\x1b[{_COLOURS[list(names).index(name) % len(_COLOURS)]}m{text}\x1b[0m"
    return f"{text} ".encode()


def harmless(line: str) -> str:
    """For a terminal: what a host says must not move the cursor or set a title. Colours stay, and are ended; of a
    progress bar that rewrites its line the last state is shown."""
    line = line.rpartition("\r")[2]
    coloured = _STEERING.split(line)
    signs = _STEERING.findall(line)
    clean = [
        "".join(sign if sign.isprintable() or sign == "\t" else "?" for sign in part) for part in coloured
    ]
    text = "".join(part + sign for part, sign in zip(clean, [*signs, ""], strict=True))
    return text + "\x1b[0m" if signs else text


def _split(text: bytes) -> list[bytes]:
    """At newlines only: bytes.splitlines ends lines at a carriage return, too."""
    return [one for one in re.split(rb"(?<=\n)", text) if one]
