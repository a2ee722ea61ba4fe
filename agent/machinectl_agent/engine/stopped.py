"""The wish that dockerd stays down: made by `machinectl stop` and `kill`, taken back by `start` and `restart`.

It is kept on the machine, so that every controller, a reboot and a later provision respect it. A dockerd that
runs all the same was started by somebody on the host: they win, and the wish is forgotten.
"""

from __future__ import annotations

import json
import time
from typing import Any, Mapping

from machinectl_agent.host import Host

RECORD = "/var/lib/machinectl/engine-stopped.json"


def wish_stopped(host: Host, who: str) -> None:
    """`who` is user and host of the controller."""
    host.make_folder(RECORD.rpartition("/")[0], 0o700)
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    host.write(RECORD, json.dumps({"by": who, "at": moment}) + "\n", 0o600)


def forget_stopped(host: Host) -> None:
    """No error where nobody wished it."""
    host.remove(RECORD)


def wished_stopped(host: Host) -> bool:
    """Somebody wished it, and it was not taken back."""
    return host.exists(RECORD)


def whose_wish(host: Host) -> str:
    """For people: `by ann@laptop at 2026-01-02T03:04:05Z`; empty where nobody wished it."""
    try:
        note: Mapping[str, Any] = json.loads(host.read(RECORD) or "")
        return f"by {note['by'] or 'somebody'} at {note['at']}"
    except (ValueError, KeyError, TypeError):
        return "by somebody" if wished_stopped(host) else ""
