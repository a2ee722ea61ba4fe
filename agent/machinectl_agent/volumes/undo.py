"""Lets the containers of a record go on."""

from __future__ import annotations

import syslog
from pathlib import Path
from typing import Callable, List

from machinectl_agent.engine.api import ApiError, call
from machinectl_agent.volumes import record
from machinectl_agent.volumes.record import FOLDER, STOPPED, Record

DEADLINE = 120.0
"""Seconds for one container; the start of one may wait for its networks."""


def undo(held: Record) -> List[str]:
    """What could not be undone, for people. Raises `ApiError` where dockerd does not answer: then nothing is lost,
    and it can be tried again. A container that goes on already, or is gone, is fine."""
    troubles = []
    for identity, name in held.containers:
        verb = "start" if held.action == STOPPED else "unpause"
        try:
            call("POST", f"/containers/{identity}/{verb}", deadline=DEADLINE)
        except ApiError as error:
            if not error.status:
                raise
            if error.status != 304 and not _goes_on(identity, held.action):
                troubles.append(f"container {name} could not be {verb}ed: {error.said}".replace("eed", "ed"))
    return troubles


def sweep(say: Callable[[str], None], folder: str = FOLDER) -> None:
    """Undoes the records whose keepers are dead. Where dockerd does not answer they stay for the next time."""
    for path in record.left_behind(folder):
        guard = record.lock(path.with_suffix(".lock"))
        if guard is None:
            continue
        with guard:
            held = record.read(path)
            if held is not None:
                try:
                    troubles = undo(held)
                except ApiError:
                    continue
                names = ", ".join(name for _, name in held.containers)
                say(f"containers that a broken copy of {held.place} had {held.action} go on: {names}")
                for one in troubles:
                    say(one)
            forget(path)
    for path in Path(folder).glob("container-*.lock"):
        guard = record.lock(path)
        if guard is not None:  # of a keeper that was killed
            path.unlink(missing_ok=True)
            guard.close()


def forget(path: Path) -> None:
    """The record first: a lock without a record means nothing."""
    path.unlink(missing_ok=True)
    path.with_suffix(".lock").unlink(missing_ok=True)


def tell_journal(text: str) -> None:
    """For what nobody hears any more."""
    syslog.openlog("machinectl-agent", 0, syslog.LOG_DAEMON)
    syslog.syslog(syslog.LOG_WARNING, text)


def _goes_on(identity: str, action: str) -> bool:
    found = call("GET", f"/containers/{identity}/json", deadline=DEADLINE)
    if found is None:
        return True
    return not found["State"]["Paused"] if action != STOPPED else bool(found["State"]["Running"])
