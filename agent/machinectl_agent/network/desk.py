"""What the service answers on its control socket: the verbs behind `machinectl network` and `machinectl dns`."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, Mapping

from machinectl_agent import wire
from machinectl_agent.bundle import own_hash
from machinectl_agent.daemon.conversation import Answer
from machinectl_agent.daemon.status import resident_bytes
from machinectl_agent.network.admin import Admin
from machinectl_agent.network.core import Core
from machinectl_agent.network.reconcile import Reconcile
from machinectl_agent.version import __version__


class Desk:
    """Verb → answer, for daemon/conversation.py."""

    def __init__(self, core: Core, admin: Admin, reconcile: Reconcile) -> None:
        self._core = core
        self._admin = admin
        self._reconcile = reconcile
        self._began = time.monotonic()

    def answers(self) -> Dict[str, Answer]:
        admin = self._admin
        return {
            "ping": self.ping,
            "status": self.status,
            "networks": admin.networks,
            "network": admin.network,
            "machines": admin.machines,
            "create": admin.create,
            "remove": admin.remove,
            "forget": admin.forget,
            "lookup": admin.lookup,
            "doctor": admin.doctor,
            "leave": admin.leave,
            "reconcile": lambda _args: dict(self._reconcile.run()),
        }

    def ping(self, args: Mapping[str, Any]) -> Dict[str, Any]:
        """version, bundle, pid."""
        return {"version": __version__, "bundle": own_hash(), "pid": os.getpid()}

    def status(self, args: Mapping[str, Any]) -> Dict[str, Any]:
        core = self._core
        return {
            "agent": {
                **self.ping(args),
                "wire": wire.WIRE,
                "uptime": round(time.monotonic() - self._began, 1),
                "memory": resident_bytes(),
            },
            "machine": {"id": core.settings.id, "name": core.settings.name, "vtep": core.fabric.vtep},
            "etcd": {
                "endpoints": list(core.whereabouts.endpoints),
                "trouble": core.follower.trouble,
                "stale_since": core.stale_since(),
            },
            "engine": {"up": core.engine_up},
            "networks": len(core.view.networks()),
            "local_networks": sorted(core.fabric.local()),
            "local_endpoints": len(core.ledger.endpoints()),
            "reconcile": self._reconcile.last,
            "events": core.journal.last(5),
        }
