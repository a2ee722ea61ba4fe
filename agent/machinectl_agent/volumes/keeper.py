"""The process that pauses or stops the containers of a copy, and lets them go on whatever dies: verb `hold`.

    agent (the copy)                          keeper, in a session of its own
    {"place":…,"action":…,"stall":…}\\n  →    locks, record on disk, pause/stop
                                         ←    {"event":"held","containers":[…]}
    .  (bytes were copied)               →    the clock starts anew
    r  (all is read)                     →    are they as we left them? go on, forget the record
                                         ←    {"event":"released","trouble":…}
    end of file (the copy died)          →    go on, forget the record
    nothing for `stall` seconds          →    the same: a copy that hangs must not keep a database down

A keeper that is killed, too, leaves its record (record.py).
"""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Dict, List, Mapping

from machinectl_agent.engine.api import ApiError, call
from machinectl_agent.problems import Problem
from machinectl_agent.volumes import docker, record
from machinectl_agent.volumes.place import need_place
from machinectl_agent.volumes.record import FOLDER, PAUSED, STOPPED, Record
from machinectl_agent.volumes.undo import forget, tell_journal, undo
from machinectl_agent.volumes.users import User, check_not_paused, users_of

PAUSE_DEADLINE = 60.0
STOP_GRACE = 10
"""Seconds; Docker's own where a container says nothing else."""

PATIENCE = 600.0
"""Seconds for dockerd to come back; after that the record is the daemon's."""

SETTLE = 30.0
"""Seconds for a container that is being restarted to run or to end."""


def keep() -> int:
    """Exit status 0, also where the copy died: that is what it is for."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        # a shutdown of the host kills it in the end, and the record stays
        signal.signal(number, signal.SIG_IGN)
    with ExitStack() as stack:
        try:
            return Keeper(json.loads(_read_line()), stack).run()
        except Problem as problem:
            say(problem.to_message())
            return 1


class Keeper:
    """One hold."""

    def __init__(self, args: Mapping[str, Any], stack: ExitStack) -> None:
        self._stack = stack
        self._place = need_place(str(args["place"]))
        self._action = STOPPED if args["action"] == "stop" else PAUSED
        self._everyone = bool(args.get("everyone"))
        self._stall = float(args["stall"])
        self._path = Path(FOLDER, f"{secrets.token_hex(8)}.json")
        self._held: List[User] = []

    def run(self) -> int:
        self._lock_all()
        try:
            self._hold()
        except BaseException:
            self._release()
            raise
        say(
            {
                "event": "held",
                "action": self._action,
                "containers": [one.name for one in self._held],
                "ids": [one.id for one in self._held],
            }
        )
        try:
            trouble = self._watch() or self._intact()
        finally:
            # also where dockerd does not answer: it is asked until it does
            troubles = self._release()
        say({"event": "released", "trouble": trouble, "troubles": troubles})
        return 0

    def _touched(self) -> List[User]:
        """Those that may write; for a switch of the contents also those that only read."""
        return [one for one in users_of(self._place) if one.writes or (self._everyone and one.direct)]

    def _lock_all(self) -> None:
        """Two copies never hold one container at the same time: the first to end would let it go on."""
        for one in sorted(self._touched(), key=lambda user: user.id):
            path = Path(FOLDER, f"container-{one.id[:24]}.lock")
            guard = record.lock(path)
            if guard is None:
                say({"event": "log", "text": f"waiting for another copy, which holds container {one.name}"})
                guard = record.lock(path, wait=True)
            assert guard is not None
            self._stack.enter_context(guard)
            self._stack.callback(path.unlink, missing_ok=True)  # while it is still locked

    def _hold(self) -> None:
        touched = self._touched()
        if self._everyone:
            check_not_paused(touched)  # no copy has paused them: we have all the locks
        documents = self._in_order([one for one in touched if one.runs])
        self._held = [user for user, _ in documents]
        if not self._held:
            return
        guard = record.lock(self._path.with_suffix(".lock"))
        assert guard is not None
        self._stack.enter_context(guard)
        containers = tuple((one.id, one.name) for one in self._held)
        record.write(self._path, Record(self._action, containers, self._place.name))
        for user, document in reversed(documents):
            self._touch(user, document)

    def _in_order(self, users: List[User]) -> List[tuple[User, Dict[str, Any]]]:
        """The one that was started first goes on first: others may need it."""
        found = []
        for user in users:
            document = docker.container(user.id)
            if document is None:
                continue
            if self._action == STOPPED and document["HostConfig"].get("AutoRemove"):
                raise Problem(
                    "container-would-go",
                    f"container {user.name} is removed as soon as it is stopped (--rm)",
                    hint="leave out --stop, or stop it yourself",
                )
            found.append((user, document))
        return sorted(found, key=lambda one: str(one[1]["State"].get("StartedAt", "")))

    def _touch(self, user: User, document: Mapping[str, Any]) -> None:
        grace = document["Config"].get("StopTimeout") or STOP_GRACE
        verb, deadline = (
            ("pause", PAUSE_DEADLINE) if self._action == PAUSED else ("stop", grace + PAUSE_DEADLINE)
        )
        end = time.monotonic() + SETTLE
        while True:
            try:
                call("POST", f"/containers/{user.id}/{verb}", deadline=deadline)
                return
            except ApiError as error:
                if error.status == 304 or self._is_held(user):
                    return
                state = (docker.container(user.id) or {}).get("State") or {}
                if not state.get("Running"):
                    return  # it has ended by itself
                if not state.get("Restarting") or time.monotonic() > end:
                    raise Problem(
                        f"container-{verb}",
                        f"container {user.name} can't be {self._action}",
                        why=error.said or str(error),
                        hint="--stop stops it instead, --live copies while it runs"
                        if verb == "pause"
                        else "",
                    ) from error
            time.sleep(0.2)

    def _is_held(self, user: User) -> bool:
        state = (docker.container(user.id) or {}).get("State") or {}
        return bool(state.get("Paused")) if self._action == PAUSED else not state.get("Running", False)

    def _watch(self) -> str:
        """Until the copy says that it is done; what went wrong, if anything."""
        while True:
            ready, _, _ = select.select([0], [], [], self._stall)
            if not ready:
                return f"nothing was copied for {self._stall:g} s: the containers go on"
            words = os.read(0, 4096)
            if not words:
                return "the copy was broken off"
            if b"r" in words:
                return ""

    def _intact(self) -> str:
        """Whether nobody wrote: all are as we left them, and nobody new came."""
        for one in self._held:
            if docker.container(one.id) is not None and not self._is_held(one):
                return f"container {one.name} went on while the copy was made"
        mine = {one.id for one in self._held}
        new = [one.name for one in self._touched() if one.runs and one.id not in mine]
        return f"container {new[0]} was started while the copy was made" if new else ""

    def _release(self) -> List[str]:
        held = record.read(self._path)
        if held is None:
            return []
        end = time.monotonic() + PATIENCE
        while True:
            try:
                troubles = undo(held)
                break
            except ApiError:
                if time.monotonic() > end:
                    raise
                time.sleep(1.0)
        forget(self._path)
        for one in troubles:
            tell_journal(one)
        return troubles


def say(message: Mapping[str, Any]) -> None:
    """To the copy; where it is dead, nobody hears it."""
    try:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()
    except OSError:
        pass


def _read_line() -> str:
    """Unbuffered: the bytes behind it are signs."""
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(0, 1)
        if not part:
            raise Problem("wire", "the copy ended before it had begun")
        line += part
    return line.decode()
