"""Containers that dockerd could not start while etcd was away are started when it is back.

dockerd follows a restart policy once, while it boots or when a container ends. After a power cut of all machines etcd
may need longer for its majority than we let dockerd wait, and what could not be started then would stay down.
"""

from __future__ import annotations

import time
import urllib.parse
from typing import Any, Callable, Dict, List, Mapping

from machinectl_agent.engine.api import ApiError
from machinectl_agent.network.core import Core
from machinectl_agent.network.plugin import AWAY

DEADLINE = 120.0
"""Seconds for one container's start."""

INSPECT = 10.0
"""Seconds; one that somebody else is starting just now answers afterwards, and needs nothing of us."""

GRACE = 30.0
"""Seconds that dockerd may take to write down that a start has failed."""

PAUSE, LONGEST = 30.0, 300.0
"""Seconds until the next pass after one in which etcd refused again, twice as long each time."""

_NEVER = "0001-01-01T00:00:00Z"
"""Go's zero time: it has never run (Docker Engine API, ContainerState)."""

_NOT_MODIFIED = 304
"""It runs already (Docker Engine API, ContainerStart)."""


class Revive:
    """`work` is a Worker's: the reconcile asks for it where etcd answers, while `core.refused` says that a call of
    dockerd's has failed."""

    def __init__(self, core: Core, clock: Callable[[], float] = time.monotonic) -> None:
        self._core = core
        self._clock = clock
        self._pause = 0.0
        self._not_before = 0.0

    def work(self, _item: str) -> None:
        core, now = self._core, self._clock()
        if now < self._not_before or not self._may():
            return
        refused = core.refused
        whole = self._look_at_all()
        if core.refused != refused:  # etcd answers us and refuses others, or is away again
            self._pause = min(max(2 * self._pause, PAUSE), LONGEST)
            self._not_before = self._clock() + self._pause
        elif whole and now - refused > GRACE:
            core.refused = self._pause = 0.0

    def _may(self) -> bool:
        """A dockerd that an admin has stopped would be started by whoever asks it something."""
        core = self._core
        return core.engine_up and core.docker_asked and not core.leaving and not core.follower.trouble

    def _look_at_all(self) -> bool:
        """Whether every container was looked at."""
        whole = True
        try:
            listed = self._down()
        except ApiError as error:
            self._core.journal.say(
                "note", f"which containers are down for want of etcd is not known: {error}"
            )
            return False
        for container in listed:
            if not self._may():
                return False
            try:
                self._look(container)
            except ApiError as error:
                whole = False
                self._core.journal.say("warning", f"container {container[:12]} can't be started: {error}")
        return whole

    def _down(self) -> List[str]:
        """Ids of those that are in a network of ours and do not run."""
        filters = urllib.parse.quote('{"status":["exited"]}')
        listed = self._core.engine.call("GET", f"/containers/json?all=1&filters={filters}") or []
        return [str(one["Id"]) for one in listed if self._is_ours(one)]

    def _is_ours(self, listed: Mapping[str, Any]) -> bool:
        networks = (listed.get("NetworkSettings") or {}).get("Networks") or {}
        return any(self._core.ledger.network(str(one.get("NetworkID"))) for one in networks.values())

    def _look(self, container: str) -> None:
        engine, journal = self._core.engine, self._core.journal
        found = engine.container(container, deadline=INSPECT)
        if not found or not is_down_for_us(found):
            return
        try:
            engine.call("POST", f"/containers/{container}/start", deadline=DEADLINE)
        except ApiError as error:
            if error.status != _NOT_MODIFIED:
                raise
        # the answer is empty where it was started, and where there is something missing
        after = engine.container(container, deadline=INSPECT) or {}
        name, state = str(found.get("Name", container)).lstrip("/"), after.get("State") or {}
        if state.get("Running"):
            journal.say("notice", f"container {name} is started: etcd was away when dockerd tried")
        else:
            journal.say("warning", f"container {name} can't be started: {state.get('Error') or 'it is gone'}")


def is_down_for_us(inspected: Dict[str, Any]) -> bool:
    """Pure: it ran, it has a restart policy, and its last start failed for want of etcd and nothing else.

    `inspected`: of `GET /containers/ID/json`. A `docker stop` of one that is down leaves no trace in Docker."""
    state = inspected.get("State") or {}
    policy = ((inspected.get("HostConfig") or {}).get("RestartPolicy") or {}).get("Name") or "no"
    return (
        AWAY in str(state.get("Error") or "")
        and policy != "no"
        and state.get("StartedAt") not in (None, "", _NEVER)
        and not state.get("Running")
    )
