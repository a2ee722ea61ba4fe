"""Phases `network-leave` and `network-gone`: a member becomes a machine like any other again.

    network-leave   refused while containers are in the networks; the service takes the machine out of etcd and its
                    networks out of Docker; then network.json goes, which is the sign that this is done
    engine-config, engine-service   our DNS server leaves daemon.json, dockerd restarts
    network-gone    units, certificates, the ledger, what is left in the kernel

Every step looks at what is there: a run that is cut off is finished by the next one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, List, Tuple

from machinectl_agent.daemon.settings import NETWORK_SOCKET
from machinectl_agent.engine import api
from machinectl_agent.host import Host
from machinectl_agent.network.membership import CERTIFICATES, FOLDER
from machinectl_agent.network.paths import CACHE, CONFIG, ENDPOINTS, LEDGER, PLUGIN_SOCKET, RESOLVER
from machinectl_agent.network.underlay import is_here
from machinectl_agent.phases import network_service as service
from machinectl_agent.phases.base import Context, Step, Work
from machinectl_agent.phases.network import MODULES_FILE
from machinectl_agent.problems import Problem

if TYPE_CHECKING:
    from machinectl_agent.network.engine import DockerNetwork, Engine

LEAVE_DEADLINE = 120.0
"""Seconds: Docker removes each network, etcd frees what is ours."""

FILES = (
    MODULES_FILE,
    *(service.unit_file(unit) for unit in service.UNITS),
    *CERTIFICATES,
    LEDGER,
    CACHE,
    ENDPOINTS,
    PLUGIN_SOCKET,
    NETWORK_SOCKET,
    f"{NETWORK_SOCKET}.lock",
)

NAMESPACES = "/run/netns"
PREFIX = "mctl-"
"""Of the network namespaces that the data plane makes."""


@dataclass(frozen=True)
class Member:
    """A machine that is about to leave."""

    joined: bool
    answers: bool = False
    """The network service does."""
    containers: Tuple[str, ...] = ()
    """Names of those that are in the networks."""


class NetworkLeavePhase:
    """Before dockerd is touched."""

    name = "network-leave"

    def observe(self, host: Host, context: Context) -> Member:
        wanted = context.spec.network
        if not wanted or not wanted.absent or not host.exists(CONFIG):
            return Member(joined=False)
        answers = bool(service.running(host).pid)
        return Member(True, answers, tuple(_containers()))

    def plan(self, seen: Member, context: Context) -> List[Step]:
        wanted = context.spec.network
        if not seen.joined or not wanted:
            return []
        if seen.containers and not wanted.force:
            raise Problem(
                "endpoints-left",
                f"containers of this machine are in machinectl's networks: {len(seen.containers)}",
                why=", ".join(seen.containers[:20]),
                hint="remove them or disconnect them from these networks, or add --force, which disconnects them",
            )
        if not seen.answers and not wanted.force:
            raise Problem(
                "network-silent",
                "the network service does not answer, so that the machine can't be taken out of etcd",
                why=f"{NETWORK_SOCKET} is silent",
                hint=f"`systemctl restart {service.SERVICE}` on the host; or --force, then "
                f"`machinectl network forget {context.spec.name}`",
            )
        steps = []
        if seen.containers:
            title = f"- disconnect {len(seen.containers)} containers from the networks"
            steps.append(Step(f"{self.name}/disconnect", title, disconnect))
        leave = _Leave(context.spec.name, answers=seen.answers, force=wanted.force)
        return [*steps, Step(f"{self.name}/leave", "- leave the networks", leave)]


class NetworkGonePhase:
    """After dockerd has been restarted without our DNS server."""

    name = "network-gone"

    def observe(self, host: Host, context: Context) -> Tuple[Tuple[str, ...], Tuple[str, ...]]:
        """Files, and what is in the kernel: namespaces and the resolver's address."""
        wanted = context.spec.network
        if not wanted or not wanted.absent:
            return (), ()
        kernel = [one for one in host.names(NAMESPACES) if one.startswith(PREFIX)]
        if is_here(RESOLVER):
            kernel.append(RESOLVER)
        return tuple(one for one in FILES if host.exists(one)), tuple(kernel)

    def plan(self, seen: Tuple[Tuple[str, ...], Tuple[str, ...]], context: Context) -> List[Step]:
        files, kernel = seen
        steps = []
        if any(service.unit_file(unit) in files for unit in service.UNITS):
            title = f"- stop and disable {service.SERVICE} and {service.SOCKET}"
            steps.append(Step(f"{self.name}/stop", title, service.stop))
        if kernel:
            title = f"- remove {', '.join(kernel[:5])} from the kernel"
            steps.append(Step(f"{self.name}/kernel", title, _clear_kernel))
        if files:
            title = "- remove the units, the certificates and what the service knew"
            steps.append(Step(f"{self.name}/remove", title, _remove_files))
        return steps


class _Leave:
    """network.json goes last: it is what says that the machine is still in etcd."""

    def __init__(self, name: str, *, answers: bool, force: bool) -> None:
        self._name, self._answers, self._force = name, answers, force

    def __call__(self, work: Work) -> None:
        trouble = "the network service does not answer"
        if self._answers:
            try:
                service.ask("leave", {"force": self._force}, LEAVE_DEADLINE)
                trouble = ""
            except Problem as problem:
                if not self._force:
                    raise
                trouble = f"{problem.what}: {problem.why}"
        if trouble:
            # a network without its plugin holds up every start of dockerd for a minute
            _remove_networks(work)
            work.log(f"{trouble}; on another member: `machinectl network forget {self._name}`")
        work.host.remove(CONFIG)


def _engine() -> Engine:
    from machinectl_agent.network.engine import Engine  # noqa: PLC0415 - seldom, with http.client

    return Engine(api.SOCKET)


def _networks() -> List[DockerNetwork]:
    engine = _engine()
    try:
        found = [engine.network(one.docker_id) for one in engine.networks()]
    except api.ApiError:
        return []  # dockerd is down: it has no running containers that it knows of
    return [one for one in found if one]


def _containers() -> List[str]:
    return sorted({one["name"] or one["container"] for net in _networks() for one in net.endpoints.values()})


def disconnect(_work: Work) -> None:
    """As `docker network disconnect --force`."""
    engine = _engine()
    for network in _networks():
        for one in network.endpoints.values():
            body = {"Container": one["container"] or one["name"], "Force": True}
            try:
                engine.call("POST", f"/networks/{network.docker_id}/disconnect", body, deadline=60.0)
            except api.ApiError as error:
                raise Problem(
                    "disconnect-failed",
                    f"container {one['name']} can't be disconnected from {network.name}",
                    why=str(error),
                    hint="stop it on the host, then run the same command again",
                ) from error


def _remove_networks(work: Work) -> None:
    engine = _engine()
    for network in _networks():
        try:
            engine.remove_network(network.docker_id)
        except api.ApiError as error:
            work.log(f"network {network.name} stays in Docker: {error}")


def _clear_kernel(_work: Work) -> None:
    from machinectl_agent.network.drivers import host_resolver  # noqa: PLC0415 - loads pyroute2
    from machinectl_agent.network.drivers.vxlan import Vxlan  # noqa: PLC0415

    host_resolver.remove()
    dataplane = Vxlan()
    for network in dataplane.networks():
        dataplane.remove_network(network)


def _remove_files(work: Work) -> None:
    host = work.host
    for name in FILES:
        host.remove(name)
    for folder in (FOLDER, os.path.dirname(FOLDER)):  # noqa: PTH120 - names on the machine
        try:
            host.path(folder).rmdir()
        except OSError:
            pass  # gone, or somebody else's files are in it
    host.must("systemctl", "daemon-reload", deadline=60)
    host.run("systemctl", "reset-failed", *service.UNITS, deadline=20)
