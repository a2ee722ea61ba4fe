"""Docker's API, as the network service uses it: networks, containers and the stream of events.

Never called while dockerd boots: it loads its networks then, asks our plugin, and answers nobody (it hangs). The
stream of events is the sign that it is up (`Events`).
"""

from __future__ import annotations

import http.client
import json
import socket
import urllib.parse
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Mapping, Optional

from machinectl_agent.engine.api import ApiError, Conflict, call
from machinectl_agent.engine.unix_http import UnixConnection
from machinectl_agent.network.records import DRIVER, ID_OPTION, NetworkRecord

__all__ = ["Conflict", "DockerNetwork", "Engine", "parse_network", "render_network"]

DEADLINE = 10.0


@dataclass(frozen=True)
class DockerNetwork:
    """A network of ours as Docker has it on this machine."""

    docker_id: str
    name: str
    id: str
    """In etcd: the replica's option, or the Docker id where it was made here first."""
    replica: bool
    endpoints: Mapping[str, Dict[str, str]] = field(default_factory=dict)
    """By endpoint id: container, name, ip, ip6, mac. Only from `network`."""


class Engine:
    """One dockerd. Every call raises `ApiError`; 404 gives None where the signature says so."""

    def __init__(self, path: str) -> None:
        self._path = path

    def call(
        self, method: str, path: str, body: Optional[Mapping[str, Any]] = None, deadline: float = DEADLINE
    ) -> Any:
        """The JSON answer; None for 404 and for answers without a body."""
        return call(method, path, body, deadline=deadline, unix_socket=self._path)

    def networks(self) -> List[DockerNetwork]:
        """Ours, without their endpoints."""
        query = urllib.parse.quote(json.dumps({"driver": [DRIVER]}))
        found = self.call("GET", f"/networks?filters={query}") or []
        return [parse_network(one) for one in found if one.get("Driver") == DRIVER]

    def network(self, docker_id: str) -> Optional[DockerNetwork]:
        """With its endpoints on this machine."""
        found = self.call("GET", f"/networks/{docker_id}")
        return parse_network(found) if found else None

    def create_network(self, record: NetworkRecord) -> str:
        """A replica; its Docker id. Raises `Conflict` where the name is taken by another network."""
        answer = self.call("POST", "/networks/create", render_network(record), deadline=60.0)
        return str(answer["Id"])

    def remove_network(self, docker_id: str) -> None:
        """Raises `Conflict` while containers of this machine are on it."""
        self.call("DELETE", f"/networks/{docker_id}", deadline=60.0)

    def container(self, container: str, deadline: float = 60.0) -> Optional[Dict[str, Any]]:
        """Its inspect. While the container is being started, dockerd answers after that."""
        found: Optional[Dict[str, Any]] = self.call("GET", f"/containers/{container}/json", deadline=deadline)
        return found

    def events(self, kinds: Mapping[str, List[str]]) -> Iterator[Optional[Dict[str, Any]]]:
        """First None: connected. Then an event after the other, until dockerd ends; raises `ApiError`."""
        query = urllib.parse.quote(json.dumps(dict(kinds)))
        connection = UnixConnection(self._path, None)
        try:
            connection.connect()
            # a dead dockerd closes the socket: no deadline is needed to notice that
            connection.sock.settimeout(None)
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            connection.request("GET", f"/events?filters={query}")
            answer = connection.getresponse()
            if answer.status == 200:
                yield None
                for line in iter(answer.readline, b""):
                    if line.strip():
                        yield json.loads(line)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise ApiError(f"the stream of events ended: {error!r}") from error
        finally:
            connection.close()


def parse_network(found: Mapping[str, Any]) -> DockerNetwork:
    """Pure: Docker's JSON → DockerNetwork."""
    options = found.get("Options") or {}
    endpoints = {}
    for container, one in (found.get("Containers") or {}).items():
        endpoints[one["EndpointID"]] = {
            # a sandbox that is still being made is listed as ep-ENDPOINT
            "container": "" if container.startswith("ep-") else container,
            "name": one.get("Name", ""),
            "ip": one.get("IPv4Address", "").partition("/")[0],
            "ip6": one.get("IPv6Address", "").partition("/")[0],
            "mac": one.get("MacAddress", ""),
        }
    return DockerNetwork(
        docker_id=found["Id"],
        name=found["Name"],
        id=options.get(ID_OPTION) or found["Id"],
        replica=ID_OPTION in options,
        endpoints=endpoints,
    )


def render_network(record: NetworkRecord) -> Dict[str, Any]:
    """Pure: what `POST /networks/create` takes for a replica (Docker Engine API, NetworkCreate).

    CheckDuplicate: without it 20.10 makes a second network of the same name. Auxiliary addresses are left out:
    they are in etcd already, and Docker would ask for them again.
    """
    config = [
        {
            key: value
            for key, value in (("Subnet", one.subnet), ("IPRange", one.range), ("Gateway", one.gateway))
            if value
        }
        for one in record.pools
    ]
    return {
        "Name": record.name,
        "CheckDuplicate": True,
        "Driver": DRIVER,
        "Internal": record.internal,
        "Attachable": False,
        "EnableIPv6": any(":" in one.subnet for one in record.pools),
        "IPAM": {"Driver": DRIVER, "Config": config, "Options": {ID_OPTION: record.id}},
        "Options": {**dict(record.options), ID_OPTION: record.id},
        "Labels": dict(record.labels),
    }
