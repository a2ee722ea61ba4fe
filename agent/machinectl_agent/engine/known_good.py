"""The engine's files as they were before changes that no running dockerd has confirmed yet.

    first write  ──► keep(): a copy of every file (or that there was none)
    dockerd runs ──► forget()
    it does not  ──► restore(), and dockerd is started with what it had

The copy survives a crash or power cut between write and restart: the next run finds it and keeps it,
because it still is the last configuration that is known to have worked.
"""

from __future__ import annotations

import json
from typing import Dict, List, Optional

from machinectl_agent.engine import daemon_json, loaded
from machinectl_agent.host import Host

COPY = "/var/lib/machinectl/known-good.json"
FILES = (*loaded.FILES, daemon_json.RECORD)


def keep(host: Host) -> None:
    """Copies the files unless a copy is there that is still the last known good one.

    It is not when dockerd has been started after it and has loaded all that is on the disk now: then a run was
    killed between the restart and `forget`, or somebody has put things right by hand.
    """
    pid = _dockerd(host)
    if pid:
        loaded.settle(host, pid)
    if host.exists(COPY) and not (pid and loaded.started_after(host, pid, (COPY, *loaded.FILES))):
        return
    files: Dict[str, Optional[List[object]]] = {}
    for name in FILES:
        text = host.read(name)
        files[name] = None if text is None else [text, host.mode(name)]
    host.make_folder("/var/lib/machinectl", 0o700)
    host.write(COPY, json.dumps(files) + "\n", 0o600)


def _dockerd(host: Host) -> int:
    pid = (host.read("/run/docker.pid") or "").strip()
    return int(pid) if pid.isdigit() and host.exists(f"/proc/{pid}/stat") else 0


def forget(host: Host) -> None:
    """What is on the disk now has proved itself."""
    host.remove(COPY)


def restore(host: Host) -> bool:
    """Puts every file back as it was, or away where there was none. False where there is no copy."""
    text = host.read(COPY)
    if text is None:
        return False
    for name, before in json.loads(text).items():
        if before is None:
            host.remove(name)
        else:
            host.write(name, before[0], before[1])
    host.remove(COPY)
    return True
