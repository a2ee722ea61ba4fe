"""Docker's own overlay networks as dockerd shows them, and how they are made again with our driver. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from machinectl.errors import MachinectlError

DRIVER = "machinectl"
OVERLAY = "overlay"
MTU = "com.docker.network.driver.mtu"


@dataclass(frozen=True)
class ClassicNetwork:
    """An overlay network; ids are Docker's and the same on all machines, as they are in etcd."""

    id: str
    name: str
    subnets: tuple[tuple[str, str, str], ...]
    """Subnet, range (may be empty), gateway without a prefix length."""
    internal: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    mtu: str = ""


@dataclass(frozen=True)
class Attachment:
    """A container on the network, running or stopped."""

    machine: str
    container: str
    name: str
    ip: str
    aliases: tuple[str, ...] = ()
    running: bool = True


def is_classic(document: Mapping[str, Any]) -> bool:
    """Of a network as `GET /networks` lists it: an overlay with a cluster-store. Swarm's have the scope `swarm`."""
    return document.get("Driver") == OVERLAY and document.get("Scope") == "global"


def parse_network(document: Mapping[str, Any]) -> ClassicNetwork:
    """`GET /networks/ID` → ClassicNetwork. Raises `MachinectlError` for what our driver does not have."""
    options = document.get("Options") or {}
    name = str(document["Name"])
    if "encrypted" in options:
        raise MachinectlError(
            f"the network {name} is encrypted, and machinectl's networks are not",
            hint="keep it in classic mode, or make it anew without `--opt encrypted` first",
        )
    return ClassicNetwork(
        id=str(document["Id"]),
        name=name,
        subnets=tuple(
            (one["Subnet"], one.get("IPRange", ""), one.get("Gateway", "").partition("/")[0])
            for one in document["IPAM"]["Config"]
        ),
        internal=bool(document.get("Internal")),
        labels=dict(document.get("Labels") or {}),
        mtu=str(options.get(MTU, "")),
    )


def endpoint_names(document: Mapping[str, Any]) -> set[str]:
    """Of a network's inspect: the names of the containers that run on it, on whatever machine."""
    return {str(one["Name"]) for one in (document.get("Containers") or {}).values()}


def parse_attachment(machine: str, network: str, document: Mapping[str, Any]) -> Attachment:
    """`GET /containers/ID/json` → Attachment. Docker's own alias, the short id, is left out: it makes it itself."""
    settings = document["NetworkSettings"]["Networks"][network]
    wanted = (settings.get("IPAMConfig") or {}).get("IPv4Address", "")
    identity = str(document["Id"])
    return Attachment(
        machine=machine,
        container=identity,
        name=str(document["Name"]).lstrip("/"),
        ip=settings.get("IPAddress") or wanted,
        aliases=tuple(one for one in settings.get("Aliases") or () if one != identity[:12]),
        running=bool(document["State"]["Running"]),
    )


def attached_to(network: str, document: Mapping[str, Any]) -> str:
    """Of a container's inspect: the id of the network that it has under this name; empty: none."""
    settings = document["NetworkSettings"]["Networks"].get(network) or {}
    return str(settings.get("NetworkID", ""))


def render_create(network: ClassicNetwork) -> dict[str, Any]:
    """Body of `POST /networks/create`: the same network with our driver."""
    config = [
        {key: text for key, text in zip(("Subnet", "IPRange", "Gateway"), one, strict=True) if text}
        for one in network.subnets
    ]
    return {
        "Name": network.name,
        "CheckDuplicate": True,
        "Driver": DRIVER,
        "Internal": network.internal,
        "IPAM": {"Driver": DRIVER, "Config": config},
        "Options": {MTU: network.mtu} if network.mtu else {},
        "Labels": dict(network.labels),
    }


def render_connect(one: Attachment) -> dict[str, Any]:
    """Body of `POST /networks/ID/connect`: the same address and aliases. A stopped container that never had an
    address gets one when it starts."""
    endpoint: dict[str, Any] = {"Aliases": list(one.aliases)}
    if one.ip:
        endpoint["IPAMConfig"] = {"IPv4Address": one.ip}
    return {"Container": one.container, "EndpointConfig": endpoint}


def to_json(network: ClassicNetwork, attachments: tuple[Attachment, ...]) -> dict[str, Any]:
    """The record of a migration under way."""
    return {
        "network": dataclasses.asdict(network),
        "attachments": [dataclasses.asdict(one) for one in attachments],
    }


def from_json(document: Mapping[str, Any]) -> tuple[ClassicNetwork, tuple[Attachment, ...]]:
    """The reverse. Raises KeyError or TypeError for what is no such record."""
    network = dict(document["network"])
    network["subnets"] = tuple(tuple(one) for one in network["subnets"])
    attachments = tuple(
        Attachment(**{**one, "aliases": tuple(one["aliases"])}) for one in document["attachments"]
    )
    return ClassicNetwork(**network), attachments
