"""dockerd's events: when it is up, which networks come and go, which containers start, are renamed, connected.

Nobody connects to dockerd's socket before dockerd is seen holding it: systemd would start a dockerd that an admin has
stopped.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, Dict, Mapping

from machinectl_agent.daemon.engine_socket import Listener
from machinectl_agent.daemon.systemd import Systemd
from machinectl_agent.engine.api import ApiError
from machinectl_agent.network.core import Core
from machinectl_agent.network.records import DRIVER

KINDS = {"type": ["network", "container"], "event": ["create", "destroy", "connect", "start", "rename"]}

PAUSE = 0.25
"""Seconds between two looks at a dockerd that is not there."""


class Running:
    """Whether dockerd is there, without a connection to its socket and without a child process most of the time."""

    def __init__(self, systemd: Systemd, socket: str) -> None:
        self._systemd = systemd
        self._listener = Listener(socket)
        self._mark: Any = object()
        self._pid = 0

    def __call__(self) -> bool:
        mark = self._systemd.mark()
        if mark is None or mark != self._mark or not self._pid:
            unit = self._systemd.show()
            self._mark, self._pid = mark, unit.pid if unit.active == "active" else 0
        return bool(self._pid) and self._listener.held_by(self._pid)


class Events:
    """One thread, for ever."""

    def __init__(self, core: Core, running: Callable[[], bool], on_container: Callable[[str], None]) -> None:
        self._core = core
        self._running = running
        self._on_container = on_container

    def start(self) -> None:
        threading.Thread(target=self.run, name="events", daemon=True).start()

    def run(self) -> None:
        while True:
            if self._running():
                self._listen()
            time.sleep(PAUSE)  # dockerd has no way to tell that it is there again

    def _listen(self) -> None:
        core = self._core
        try:
            for event in core.engine.events(KINDS):
                if event is None:
                    core.engine_up = True
                    core.reconcile()
                else:
                    self._take(event)
        except ApiError as error:
            if core.engine_up:
                core.journal.say("note", f"dockerd went away: {error}")
        finally:
            core.engine_up = False

    def _take(self, event: Mapping[str, Any]) -> None:
        actor: Dict[str, Any] = event.get("Actor") or {}
        attributes = actor.get("Attributes") or {}
        kind, action = event.get("Type"), event.get("Action")
        if kind == "network" and attributes.get("type") == DRIVER and action in ("create", "destroy"):
            # its id in etcd: as the ledger has it, or its own
            docker_id = str(actor.get("ID"))
            known = self._core.ledger.network(docker_id)
            self._core.wake(known.id if known else docker_id)
        elif kind == "network" and attributes.get("type") == DRIVER and action == "connect":
            self._on_container(str(attributes.get("container")))
        elif kind == "container" and action in ("start", "rename"):
            self._on_container(str(actor.get("ID")))
