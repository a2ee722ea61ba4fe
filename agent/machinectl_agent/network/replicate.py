"""Networks in Docker on this machine ⇄ networks in etcd, one at a time and level-triggered.

Made here by somebody's `docker network create`: it gets its name in etcd. In etcd and not here: a replica is made.
Here and no longer in etcd: it is removed, unless it has containers.
"""

from __future__ import annotations

from typing import Dict, Optional

from machinectl_agent.engine.api import ApiError
from machinectl_agent.kv.interface import KvError
from machinectl_agent.network.core import Core
from machinectl_agent.network.engine import Conflict, DockerNetwork
from machinectl_agent.network.records import NetworkRecord
from machinectl_agent.network.registry.errors import NameTaken
from machinectl_agent.problems import Problem


class Replicate:
    """`one` is a Worker's work; the empty id means all of them."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def one(self, network: str) -> None:
        """Raises nothing that dockerd or etcd causes: the next event or the reconcile tries again."""
        core = self._core
        if core.leaving or not core.engine_up or not core.view.knows(core.layout.networks):
            return
        try:
            here: Dict[str, DockerNetwork] = {found.id: found for found in core.engine.networks()}
            names = [network] if network else sorted({*here, *core.view.networks()})
        except ApiError as error:
            core.journal.say("note", f"networks are compared later: {error}")
            return
        for one in names:
            try:
                self._compare(one, here.get(one))
            except (ApiError, KvError, Problem) as error:
                core.journal.say("warning", f"network {one[:12]}: {error}")

    def _compare(self, network: str, here: Optional[DockerNetwork]) -> None:
        core = self._core
        record = core.view.network(network)
        if here and record is None:
            # the view may be behind: a network that was made a moment ago
            record = core.registry.network(network)
        if here and record is None:
            self._remove(here)
        elif here and record:
            core.ledger.put_network(here.docker_id, record)
            if not record.name:
                self._name(here, record)
            elif not self._is_wanted(record):
                self._remove(here)
        elif record and record.name and self._is_wanted(record):
            self._create(record)

    def _is_wanted(self, record: NetworkRecord) -> bool:
        return not record.on or self._core.settings.name in record.on

    def _create(self, record: NetworkRecord) -> None:
        core = self._core
        # the view may be behind: of a network that is being removed Docker here may have heard before
        if core.registry.network(record.id) is None:
            return
        try:
            docker_id = core.engine.create_network(record)
        except Conflict as error:
            # made by another thread of ours a moment ago, or somebody's network has the name
            core.journal.say("warning", f"network {record.name} can't be made here: {error}")
            return
        core.ledger.put_network(docker_id, record)
        core.journal.say("notice", f"network {record.name} is here")

    def _name(self, here: DockerNetwork, record: NetworkRecord) -> None:
        core = self._core
        try:
            core.registry.name_network(record.id, here.name)
        except NameTaken as problem:
            core.journal.say(
                "error", f"network {here.name} is removed: another machine made one first: {problem.why}"
            )
            self._remove(here)
            core.registry.delete_network(record.id)

    def _remove(self, here: DockerNetwork) -> None:
        """One that has containers stays: the reconcile puts it back into etcd."""
        core = self._core
        if core.ledger.endpoints(here.id):
            core.journal.say(
                "warning", f"network {here.name} is not in etcd, but has containers here: it stays"
            )
            return
        core.removing.add(here.docker_id)
        try:
            core.engine.remove_network(here.docker_id)
            core.journal.say("notice", f"network {here.name} is gone")
        except Conflict as error:
            core.journal.say("warning", f"network {here.name} stays: {error}")
        finally:
            core.removing.discard(here.docker_id)
