"""The DNS servers that the host itself uses: they get what is not ours."""

from __future__ import annotations

import ipaddress
import os
from typing import List, Sequence, Tuple

from machinectl_agent.network.paths import RESOLVER

FILE = "/etc/resolv.conf"
RESOLVED = "/run/systemd/resolve/resolv.conf"
"""The real servers where resolv.conf names only systemd-resolved's stub (systemd-resolved.service(8))."""

_STUB = ("127.0.0.53", "127.0.0.54")
_SEVERAL = 2
"""Colons in an IPv6 address at least."""


class Upstreams:
    """Callable: the servers now, `address` or `address:port` (`[address]:port`). Read anew when a file has changed.

    Any resolver on the host's loopback may be among them: we ask from the host's namespace. We ourselves never are:
    daemon.json, from which people copy into resolv.conf, has our address.
    """

    def __init__(
        self,
        fixed: Sequence[str] = (),
        own: Sequence[str] = (RESOLVER,),
        file: str = FILE,
        resolved: str = RESOLVED,
    ) -> None:
        self._own = set(own)
        self._fixed = self._usable(fixed)
        self._files = (file, resolved)
        self._stamp: Tuple[object, ...] = ()
        self._found: Tuple[str, ...] = ()

    def __call__(self) -> Sequence[str]:
        if self._fixed:
            return self._fixed
        stamp = tuple(_stamp(one) for one in self._files)
        if stamp != self._stamp:
            self._found, self._stamp = self._usable(self._read()), stamp
        return self._found

    def _read(self) -> List[str]:
        found = parse(_text(self._files[0]))
        if found and all(one in _STUB for one in found):
            # the stub works as well; asking past it saves a step, and its search for names of the local link
            found = parse(_text(self._files[1])) or found
        return found

    def _usable(self, found: Sequence[str]) -> Tuple[str, ...]:
        return tuple(
            one for one in dict.fromkeys(found) if _is_server(one) and address_of(one)[0] not in self._own
        )


def parse(text: str) -> List[str]:
    """Pure: resolv.conf(5) → addresses of its nameservers."""
    words = (line.split() for line in text.splitlines())
    return [one[1] for one in words if len(one) > 1 and one[0] == "nameserver"]


def address_of(server: str) -> Tuple[str, int]:
    """`10.0.0.1`, `10.0.0.1:53`, `fe80::1%eth0`, `[::1]:53` → host, port. Raises ValueError."""
    if server.startswith("["):
        host, _, port = server[1:].partition("]")
        return host, int(port.lstrip(":") or 53)
    if server.count(":") >= _SEVERAL:
        return server, 53
    host, _, port = server.partition(":")
    return host, int(port or 53)


def _is_server(server: str) -> bool:
    try:
        ipaddress.ip_address(address_of(server)[0].partition("%")[0])
    except ValueError:
        return False
    return True


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def _stamp(path: str) -> Tuple[int, int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116 - no pathlib here
    except OSError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_ino, found.st_size
