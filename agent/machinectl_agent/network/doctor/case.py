"""What every check may look at; read once, so that all of them speak of the same moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import FrozenSet, Tuple

from machinectl_agent.kv.gateway import Gateway
from machinectl_agent.kv.interface import KvError
from machinectl_agent.kv.tls import Tls
from machinectl_agent.network.core import Core
from machinectl_agent.network.records import MachineRecord, NetworkRecord
from machinectl_agent.problems import Problem

READ = 3.0
"""Seconds for the reading of etcd; without it the checks of the kernel and of Docker go on with what is known."""


@dataclass(frozen=True)
class Case:
    core: Core
    kv: Gateway
    networks: Tuple[NetworkRecord, ...]
    """Those that are asked about."""
    machines: Tuple[MachineRecord, ...]
    alive: FrozenSet[str]
    away: str
    """Why etcd could not be read; empty: all of the above is from it."""

    @property
    def me(self) -> str:
        return self.core.settings.id

    @property
    def peers(self) -> Tuple[MachineRecord, ...]:
        """The other machines that have one of these networks."""
        return tuple(
            one
            for one in self.machines
            if one.id != self.me and any(not net.on or one.name in net.on for net in self.networks)
        )


def open_case(core: Core, name: str) -> Case:
    """`name` empty: all networks. Raises `Problem` `no-such-network`."""
    settings = core.settings
    tls = Tls(settings.ca, settings.cert, settings.key) if settings.ca else None
    kv = Gateway(core.whereabouts.endpoints, tls=tls)
    away = ""
    try:
        kv.get(core.layout.machine(settings.id), deadline=READ)
        networks = core.registry.networks()
        machines = core.registry.machines()
        alive = frozenset(core.registry.alive())
    except KvError as error:
        away = str(error)
        networks = list(core.view.networks().values() or core.ledger.networks().values())
        machines = list(core.view.machines().values())
        alive = frozenset(set(core.view.machines()) - core.view.dead())
    chosen = tuple(one for one in networks if not name or name in (one.name, one.id))
    if name and not chosen:
        raise Problem("no-such-network", f"there is no network {name}", hint="`machinectl network ls`")
    return Case(core, kv, chosen, tuple(machines), alive, away)
