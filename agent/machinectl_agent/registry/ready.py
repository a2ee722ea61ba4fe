"""Whether the registry on a port of this machine answers, and its last words where it does not."""

from __future__ import annotations

import http.client
import re
import ssl
import time
from typing import Any

from machinectl_agent.host import Host
from machinectl_agent.problems import Problem
from machinectl_agent.registry import places
from machinectl_agent.registry.unit import running

DEADLINE = 45.0
"""Seconds until one that was started answers; a mirror asks its upstream first."""
_SYSTEMD = re.compile(
    r"(machinectl-registry-\S+\.service: |Started |Starting |Stopped |Stopping |Failed to start )"
)
RESTARTS = 3
"""systemd's own, after which we don't expect that the next one helps."""


def wait_ready(host: Host, port: int, *, tls: bool, deadline: float = DEADLINE) -> None:
    """Raises `Problem` `registry-start-failed`."""
    end = time.monotonic() + deadline
    before = running(host, port).restarts
    while not answers(port, tls=tls):
        now = running(host, port)
        if now.restarts - before >= RESTARTS or time.monotonic() >= end or now.active == "failed":
            raise Problem(
                "registry-start-failed",
                f"the registry on port {port} does not come up",
                why=last_words(host, places.unit(port)),
                hint=f"look at `journalctl -u {places.unit(port)}` on the host",
            )
        time.sleep(0.1)


def answers(port: int, *, tls: bool) -> bool:
    """A registry's word, be it that a password is wanted."""
    kind: Any = http.client.HTTPConnection
    more = {}
    if tls:
        # it is our own process on this machine; whether others can trust it is looked at by them
        kind, more = http.client.HTTPSConnection, {"context": ssl._create_unverified_context()}  # noqa: S323
    connection = kind("127.0.0.1", port, timeout=3, **more)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status in (200, 401)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def last_words(host: Host, unit: str, lines: int = 4) -> str:
    """The lines of its journal that say what is wrong, the same thing once."""
    written = host.run("journalctl", "-u", unit, "-o", "cat", "--no-pager", "-n", "60", deadline=20).stdout
    lines_of_its_own = (line.strip() for line in written.splitlines() if not _SYSTEMD.match(line))
    found = [line for line in lines_of_its_own if line]
    telling = [
        line
        for line in found
        if re.search(r"level=(error|fatal|panic)|^panic:|[Ee]rror|failed|refused|denied", line)
    ]
    messages = (re.sub(r'.*?\bmsg="(.*?)(?<!\\)".*', r"\1", line) for line in telling or found)
    return "\n".join(list(dict.fromkeys(one[:300] for one in messages))[-lines:])
