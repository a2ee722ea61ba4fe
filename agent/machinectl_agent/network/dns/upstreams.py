"""The DNS servers that the host itself uses: they get what is not ours."""

from __future__ import annotations

import os
from typing import List, Sequence, Tuple

FILE = "/etc/resolv.conf"
RESOLVED = "/run/systemd/resolve/resolv.conf"
"""The real servers where resolv.conf names only systemd-resolved's stub (systemd-resolved.service(8))."""

_STUB = ("127.0.0.53", "127.0.0.54")


class Upstreams:
    """Callable: the addresses now. Read anew when the file has changed."""

    def __init__(
        self, fixed: Sequence[str] = (), own: Sequence[str] = (), file: str = FILE, resolved: str = RESOLVED
    ) -> None:
        self._fixed = tuple(fixed)
        self._own = set(own)
        self._files = (file, resolved)
        self._stamp: Tuple[object, ...] = ()
        self._found: Tuple[str, ...] = ()

    def __call__(self) -> Sequence[str]:
        if self._fixed:
            return self._fixed
        stamp = tuple(_stamp(one) for one in self._files)
        if stamp != self._stamp:
            self._found, self._stamp = tuple(self._read()), stamp
        return self._found

    def _read(self) -> List[str]:
        found = parse(_text(self._files[0]))
        if found and all(one in _STUB for one in found):
            found = parse(_text(self._files[1])) or found
        return [one for one in found if one not in self._own]


def parse(text: str) -> List[str]:
    """Pure: resolv.conf(5) → addresses of its nameservers, without a scope."""
    words = (line.split() for line in text.splitlines())
    return [one[1].partition("%")[0] for one in words if len(one) > 1 and one[0] == "nameserver"]


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def _stamp(path: str) -> Tuple[int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116 - no pathlib here
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_ino
