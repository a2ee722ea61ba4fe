"""Containers that dockerd could not start while etcd was away are started when it is back.

dockerd follows a restart policy once, while it boots. After a power cut of all machines etcd may need longer for its
majority than we let dockerd wait, and what could not be started then would stay down.
"""

from __future__ import annotations

import urllib.parse
from typing import Any, Dict, Mapping

from machinectl_agent.engine.api import ApiError
from machinectl_agent.network.core import Core
from machinectl_agent.network.plugin import AWAY

DEADLINE = 120.0
"""Seconds for one container's start."""

_NEVER = "0001-01-01T00:00:00Z"
"""Go's zero time: it has never run (Docker Engine API, ContainerState)."""

_NOT_MODIFIED = 304
"""It runs already (Docker Engine API, ContainerStart)."""


class Revive:
    """`work` is a Worker's: the reconcile asks for it where etcd answers, for as long as a call of dockerd's failed
    since the last time."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def work(self, _item: str) -> None:
        core = self._core
        if not core.engine_up or core.leaving:
            return
        core.refused = False
        try:
            filters = urllib.parse.quote('{"status":["exited"]}')
            for one in core.engine.call("GET", f"/containers/json?all=1&filters={filters}") or []:
                if self._is_ours(one):
                    self._look(str(one["Id"]))
        except ApiError as error:
            core.refused = True
            core.journal.say("note", f"which containers are down for want of etcd is not known: {error}")

    def _is_ours(self, listed: Mapping[str, Any]) -> bool:
        networks = (listed.get("NetworkSettings") or {}).get("Networks") or {}
        return any(self._core.ledger.network(str(one.get("NetworkID"))) for one in networks.values())

    def _look(self, container: str) -> None:
        core = self._core
        found = core.engine.container(container)
        if not found or not is_down_for_us(found):
            return
        name = str(found.get("Name", container)).lstrip("/")
        try:
            core.engine.call("POST", f"/containers/{container}/start", deadline=DEADLINE)
        except ApiError as error:
            if error.status != _NOT_MODIFIED:
                core.journal.say("warning", f"container {name} can't be started: {error}")
            return
        core.journal.say("notice", f"container {name} is started: etcd was away when dockerd tried")


def is_down_for_us(inspected: Dict[str, Any]) -> bool:
    """Pure: it ran, it has a restart policy, and its last start failed for want of etcd and nothing else.

    `inspected`: of `GET /containers/ID/json`. What a person has stopped since has no such error."""
    state = inspected.get("State") or {}
    policy = ((inspected.get("HostConfig") or {}).get("RestartPolicy") or {}).get("Name") or "no"
    return (
        AWAY in str(state.get("Error") or "")
        and policy != "no"
        and state.get("StartedAt") not in (None, "", _NEVER)
        and not state.get("Running")
    )
