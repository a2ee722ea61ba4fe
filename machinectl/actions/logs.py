"""logs: a machine's journal, or what one of our services has written into it."""

from __future__ import annotations

import datetime
import re
import shlex
from collections.abc import Callable, Mapping

from machinectl.actions.converge import connect
from machinectl.actions.report import Report
from machinectl.errors import RemoteFailed
from machinectl.remote.attended import render_attended
from machinectl.remote.become import Become
from machinectl.store.store import Store

UNITS: Mapping[str, str] = {
    "dockerd": "docker.service",
    "agent": "machinectl-agent.service",
    "network": "machinectl-network.service",
    "etcd": "machinectl-etcd.service",
    "journal": "",
}
"""What can be asked for → systemd's unit; empty: all of the journal."""

READ_DEADLINE = 600.0
"""Seconds for a journal that is not followed: gigabytes over a slow line."""

_FOREVER = 1e8
"""Seconds; what threading takes for a timeout ends at about 9e9."""

_WINDOW = 1024 * 1024

_AGO = re.compile(r"(\d+(ms|us|s|sec|m|min|h|hr|d|w|month|y))+")
"""As `docker logs --since 1h30m`; the units are systemd's (systemd.time(7))."""


def logs(
    store: Store,
    name: str,
    what: str,
    *,
    become: Become,
    write: Callable[[bytes], None],
    lines: str = "100",
    since: str = "",
    follow: bool = False,
) -> int:
    """Passes on what journalctl prints, and gives how many bytes that was. `follow`: until interrupted, which ends
    journalctl on the host. Raises `RemoteFailed` with journalctl's own words (a --since that it can't read)."""
    count = 0

    def out(part: bytes) -> None:
        nonlocal count
        count += len(part)
        write(part)

    command = render_attended(render_journalctl(UNITS[what], lines=lines, since=since, follow=follow))
    with (
        connect(store, store.load(name), become, Report(name, quiet=True)) as connection,
        connection.start(command, window=_WINDOW) as channel,
    ):
        status = channel.pass_on(out, lambda _: None, _FOREVER if follow else READ_DEADLINE)
        if status:
            why = channel.stderr_tail()[-300:] or f"exit status {status}"
            raise RemoteFailed("the host's journal can't be read", why=why, machine=name)
    return count


def render_journalctl(unit: str, *, lines: str, since: str, follow: bool) -> str:
    """Pure. `-q`: an empty journal is an empty output; control characters are escaped by journalctl itself.
    `lines`: a number, or `all`."""
    words = ["journalctl", "-q", "-o", "short-iso", "--no-pager", "-n", lines]
    words += ["-u", unit] if unit else []
    words += [f"--since={parse_since(since)}"] if since else []
    words += ["-f"] if follow else []
    return f"exec {shlex.join(words)}"


def parse_since(text: str) -> str:
    """Pure: `10m`, RFC 3339, or anything that journalctl knows (`yesterday`, `2026-01-31 10:00`) → for journalctl.

    RFC 3339 becomes seconds since 1970: older releases of systemd read no `T` and no zone."""
    if _AGO.fullmatch(text):
        return f"-{text}"
    if re.match(r"\d{4}-\d\d-\d\dT", text):
        try:
            # Python before 3.11 reads no `Z`
            moment = datetime.datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text))
        except ValueError:
            return text
        return f"@{int(moment.timestamp())}"
    return text
