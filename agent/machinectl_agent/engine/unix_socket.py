"""Whether docker.socket's file is still the socket that systemd listens on.

A dockerd that was told `-H unix://…` (docker-machine's is) unlinks that file and puts its own there. Started later
with `fd://` it would get systemd's socket, which no client can find any more.
"""

from __future__ import annotations

from machinectl_agent.host import Host

PATHS = ("/run/docker.sock", "/var/run/docker.sock")

_LISTENING = "00010000"
"""__SO_ACCEPTCON in the flags of /proc/net/unix (unix(7))."""


def was_replaced(host: Host) -> bool:
    """True while both listen; docker.socket has to be restarted with the service then."""
    return count_listening(host.read("/proc/net/unix") or "") > 1


def count_listening(table: str) -> int:
    """Pure: how many sockets listen by docker.sock's name, in the text of /proc/net/unix."""
    rows = [line.split() for line in table.splitlines()]
    return sum(len(row) == 8 and row[3] == _LISTENING and row[7] in PATHS for row in rows)
