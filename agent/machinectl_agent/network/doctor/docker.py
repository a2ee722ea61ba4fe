"""dockerd itself, and its networks and endpoints against etcd."""

from __future__ import annotations

from typing import Iterator, List, Sequence, Set

from machinectl_agent.network.doctor.case import Case
from machinectl_agent.network.doctor.finding import Finding
from machinectl_agent.network.engine import DockerNetwork
from machinectl_agent.network.records import NetworkRecord

FIX = "`machinectl network doctor --fix`"


def check_docker(case: Case) -> Iterator[Finding]:
    core = case.core
    if not core.engine_up:
        yield Finding(
            "dockerd",
            "it is down: nothing can be compared with it",
            hint=f"`machinectl ssh {core.settings.name} -- systemctl status docker`",
        )
        return
    here = core.engine.networks()
    yield from compare(here, case.networks, core.settings.name)
    wanted = {one.id for one in case.networks}
    known = {one.record.id for one in core.ledger.endpoints()}
    for listed in here:
        network = core.engine.network(listed.docker_id) if listed.id in wanted else None
        yield from unknown_endpoints(listed.name, set(network.endpoints) if network else set(), known)


def compare(
    here: Sequence[DockerNetwork], records: Sequence[NetworkRecord], machine: str
) -> Iterator[Finding]:
    """Pure. Docker's networks of ours, and etcd's, which may be a choice of them."""
    by_id = {one.id for one in here}
    for record in records:
        if record.name and record.id not in by_id and (not record.on or machine in record.on):
            taken = [one.name for one in here if one.name == record.name]
            why = (
                "Docker has another one of that name" if taken else "its replica was not made, or was removed"
            )
            hint = f"{FIX} makes it; where another driver's network has the name, remove that first"
            yield Finding(f"network {record.name}", f"it is in etcd and not in {machine}'s Docker", why, hint)
    if len(records) != 1:
        known = {record.id for record in records}
        strangers: List[str] = sorted(one.name for one in here if one.id not in known)
        for name in strangers:
            yield Finding(
                f"network {name}",
                f"{machine}'s Docker has it and etcd does not",
                "it was removed elsewhere while it had containers here, or etcd was restored",
                f"{FIX} removes it, or puts it back where it has containers",
            )


def unknown_endpoints(network: str, docker: Set[str], known: Set[str]) -> Iterator[Finding]:
    """Pure."""
    for one in sorted(docker - known):
        yield Finding(f"network {network}", f"Docker's endpoint {one[:12]} is unknown to the agent", hint=FIX)
