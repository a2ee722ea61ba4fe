"""The garbage collection of one registry: by a unit that starts the registry again whatever becomes of itself.

The registry is stopped meanwhile: an upload under way would lose layers that nothing refers to yet. The collection
goes on where the agent or the controller is killed.
"""

from __future__ import annotations

import os
import time
from typing import Any, Callable, Dict, Mapping

from machinectl_agent.host import Host
from machinectl_agent.lock import apply_lock
from machinectl_agent.phases.base import Work
from machinectl_agent.problems import Problem
from machinectl_agent.registry import places, platforms
from machinectl_agent.registry.ready import last_words, wait_ready
from machinectl_agent.registry.unit import collector_options, collector_result

PAUSE = 0.2
DEADLINE = 12 * 3600.0


def collect(
    work: Work, args: Mapping[str, Any], _emit: Callable[[Mapping[str, Any]], None]
) -> Dict[str, Any]:
    """args: port, untagged → before, after (bytes). Raises `Problem` where it failed; the registry runs then, too."""
    host, port = work.host, int(args["port"])
    config = places.read_config(host, port)
    if not config:
        raise Problem("registry-missing", f"there is no registry on port {port} of this machine")
    if config.get("proxy"):
        raise Problem(
            "registry-mirror",
            "a mirror is not collected",
            why="it forgets what was not pulled for a week by itself",
        )
    storage = places.storage_of(config)
    with apply_lock(work.log, wait=float(args.get("lock_wait", 300)), who=str(args.get("for", ""))):
        before = size(host, storage)
        if args.get("untagged"):
            # the collector looks again, once nobody pushes any more; here it costs no standstill
            _check_single_platform(host, storage)
        if not host.exists(f"{storage}/docker/registry/v2/repositories"):
            # the program takes a registry that nothing was ever pushed to for a broken one
            return {"before": before, "after": before}
        options = "OPTIONS=--delete-untagged\n" if args.get("untagged") else "OPTIONS=\n"
        host.write(collector_options(port), options)
        try:
            _run(work, port)
        except Problem as problem:
            if args.get("untagged") and problem.code == "registry-gc-failed":
                _check_single_platform(host, storage)
            raise
        wait_ready(host, port, tls="tls" in config["http"])
    return {"before": before, "after": size(host, storage)}


def _run(work: Work, port: int) -> None:
    host, unit = work.host, places.collector(port)
    work.log("the registry stands still while its layers are looked through")
    host.must("systemctl", "daemon-reload", deadline=60)
    host.run("systemctl", "reset-failed", unit, deadline=20)
    host.remove(collector_result(port))
    host.must("systemctl", "start", "--no-block", unit, deadline=60)
    end = time.monotonic() + DEADLINE
    while not _is_over(host, unit):
        if time.monotonic() >= end:
            raise Problem("deadline", f"{unit} did not end within {DEADLINE / 3600:.0f} hours")
        time.sleep(PAUSE)
    host.run("systemctl", "start", places.unit(port), deadline=60)
    result = (host.read(collector_result(port)) or "it was killed").strip()
    if result != "success":
        raise Problem(
            "registry-gc-failed",
            "the collection failed; the registry is started again",
            why=last_words(host, unit) or f"its result: {result}",
            hint=f"look at `journalctl -u {unit}` on the host",
        )


def _is_over(host: Host, unit: str) -> bool:
    shown = host.run("systemctl", "show", unit, "-p", "ActiveState,Job", deadline=20).stdout
    values = dict(line.partition("=")[::2] for line in shown.splitlines())
    return values.get("ActiveState") in ("inactive", "failed") and values.get("Job", "") in ("", "0")


def size(host: Host, storage: str) -> int:
    """Bytes on the disk below a folder."""
    total = 0
    for folder, _, names in os.walk(host.path(storage)):
        for name in names:
            try:
                total += os.lstat(f"{folder}/{name}").st_blocks * 512
            except OSError:  # gone meanwhile
                continue
    return total


def _check_single_platform(host: Host, storage: str) -> None:
    """Raises `Problem` naming the repositories that have images for several platforms."""
    found = platforms.repositories(host.path(storage))
    if found:
        raise Problem(
            "registry-multi-platform",
            f"images for several platforms would be broken: {', '.join(found[:5])}",
            why="this registry's program deletes their parts as untagged",
            hint="collect without --untagged, or delete these images first",
        )
