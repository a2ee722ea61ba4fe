"""Names of containers: Docker tells the driver none, so they are looked up and put to the endpoints in etcd.

The name is there while Join is still under way (the network's inspect lists it); aliases only once the container has
started (its inspect waits for that).
"""

from __future__ import annotations

import dataclasses
from typing import Any, Dict, Iterator, List, Mapping, Tuple

from machinectl_agent.engine.api import ApiError
from machinectl_agent.kv.interface import KvError
from machinectl_agent.network.core import Core
from machinectl_agent.problems import Problem

Item = Tuple[str, str, str]
"""`joined`, Docker's network id, endpoint id; or `container`, container id, empty."""


class Names:
    """`learn` is a Worker's work."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def learn(self, item: Item) -> None:
        """Nothing is lost where dockerd or etcd does not answer: the reconcile asks again."""
        kind, first, endpoint = item
        if not self._core.engine_up:
            return
        try:
            if kind == "joined":
                self._from_network(first, endpoint)
            else:
                self._from_container(first)
        except (ApiError, KvError, Problem) as error:
            self._core.journal.say("note", f"a container's name is not known yet: {error}")

    def put(self, endpoint: str, *, name: str, container: str, aliases: Tuple[str, ...]) -> None:
        """Into ledger and etcd, where it is news."""
        core = self._core
        local = core.ledger.endpoint(endpoint)
        if local is None:
            return
        record = dataclasses.replace(local.record, name=name, container=container, aliases=aliases)
        if record == local.record:
            return
        core.ledger.put_endpoint(record)
        core.registry.update_endpoint(
            record.network, record.id, name=record.name, aliases=record.aliases, container=record.container
        )

    def _from_network(self, docker_id: str, endpoint: str) -> None:
        network = self._core.engine.network(docker_id)
        found = network.endpoints.get(endpoint) if network else None
        local = self._core.ledger.endpoint(endpoint)
        if found and local and found["name"]:
            self.put(
                endpoint,
                name=found["name"],
                container=found["container"] or local.record.container,
                aliases=local.record.aliases,
            )

    def _from_container(self, container: str) -> None:
        found = self._core.engine.container(container)
        for endpoint, name, aliases in parse_container(found) if found else ():
            self.put(endpoint, name=name, container=str((found or {})["Id"]), aliases=aliases)


def parse_container(found: Mapping[str, Any]) -> Iterator[Tuple[str, str, Tuple[str, ...]]]:
    """Pure: a container's inspect → endpoint id, name, aliases, for each of its networks. Its own name and its short
    id, which Docker lists among the aliases, are left out: they are names anyway."""
    name, own = str(found.get("Name", "")).lstrip("/"), str(found.get("Id", ""))[:12]
    networks: Dict[str, Dict[str, Any]] = (found.get("NetworkSettings") or {}).get("Networks") or {}
    for one in networks.values():
        endpoint = one.get("EndpointID")
        if not endpoint:
            continue
        listed: List[str] = list(one.get("Aliases") or ()) + list(one.get("DNSNames") or ())
        aliases = tuple(sorted({alias for alias in listed if alias and alias not in (name, own)}))
        yield str(endpoint), name, aliases
