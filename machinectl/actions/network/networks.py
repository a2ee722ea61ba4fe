"""network create, ls, inspect, rm, forget; dns lookup: what people ask of the networks of all machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from machinectl.actions.network.ask import Member, ask_member, no_member, with_member
from machinectl.actions.network.classic import (
    classic_machines,
    create_classic,
    list_classic,
    remove_classic,
)
from machinectl.actions.network.engines import Engines
from machinectl.actions.network.membership import members
from machinectl.actions.network.wishes import NetworkWish
from machinectl.errors import AgentFailed, MachinectlError, UsageError
from machinectl.remote.become import Become
from machinectl.store.store import Store

CLASSIC = "overlay"
"""Docker's own driver, in classic mode."""


def create_network(store: Store, wish: NetworkWish, *, machine: str = "", become: Become, quiet: bool) -> str:
    """The id. Raises `AgentFailed` `name-taken`, `subnet-taken`, … before anything is made."""
    args = wish.to_args()
    made = ask_member(store, "create", args, machine=machine, become=become, quiet=quiet)
    return str(made["network"]["id"])


def create_overlay(store: Store, wish: NetworkWish, *, machine: str = "") -> str:
    """The same in classic mode: Docker's own overlay, made by one dockerd. Raises `UsageError` for what that has
    not."""
    for flag, given in (("--ipv6", wish.ipv6), ("--on", wish.on), ("--opt", wish.options)):
        if given:
            raise UsageError(f"{flag} is not for --driver {CLASSIC}", hint="leave --driver out")
    there = classic_machines(store)
    if not machine and not there:
        raise MachinectlError(
            "no machine is in classic mode", hint=f"`machinectl network join --driver {CLASSIC} MACHINE…`"
        )
    return create_classic(
        store,
        machine or there[0],
        wish.name,
        subnets=wish.subnets,
        ranges=wish.ranges,
        gateways=wish.gateways,
        mtu=wish.mtu,
        internal=wish.internal,
        labels=wish.labels,
    )


def list_networks(store: Store, *, machine: str = "", become: Become, quiet: bool) -> list[dict[str, Any]]:
    """Ours, and in classic mode Docker's; by name. Keys as the verb `networks` gives them; in classic mode `vni` and
    `endpoints` are None: no dockerd knows those of the others."""
    ours = machine in members(store) if machine else bool(members(store))
    classic = [one for one in classic_machines(store) if machine in ("", one)]
    if not ours and not classic:
        raise no_member()
    found: list[dict[str, Any]] = []
    if ours:
        answer = ask_member(store, "networks", {}, machine=machine, become=become, quiet=quiet)
        found += [{**one, "driver": "machinectl"} for one in answer["networks"]]
    if classic:
        found += [shown_classic(one) for one in list_classic(Engines(store, classic))]
    return sorted(found, key=lambda one: str(one["name"]))


def shown_classic(network: dict[str, Any]) -> dict[str, Any]:
    """Pure: Docker's JSON of one of its overlay networks in the shape of ours."""
    config = (network.get("IPAM") or {}).get("Config") or []
    mtu = (network.get("Options") or {}).get("com.docker.network.driver.mtu", "0")
    return {
        "id": network["Id"],
        "name": network["Name"],
        "driver": CLASSIC,
        "subnets": [one["Subnet"] for one in config if one.get("Subnet")],
        "internal": bool(network.get("Internal")),
        "mtu": int(mtu) if str(mtu).isdigit() else 0,
        "vni": None,
        "on": [],
        "labels": dict(network.get("Labels") or {}),
        "created": network.get("Created", ""),
        "endpoints": None,
    }


def inspect_networks(
    store: Store, names: Sequence[str], *, machine: str = "", become: Become, quiet: bool
) -> list[dict[str, Any]]:
    """As `docker network inspect` shows them, with the containers of all machines. Raises at the first that is not
    there."""

    def work(member: Member) -> list[dict[str, Any]]:
        return [shown_as_docker(member.ask("network", {"name": name})["network"]) for name in names]

    return with_member(store, work, machine=machine, become=become, quiet=quiet)


def shown_as_docker(network: dict[str, Any]) -> dict[str, Any]:
    """Pure: the verb's answer → the shape of Docker's `network inspect`, and what that does not have."""
    pools = zip(network["subnets"], network["ranges"], network["gateways"], strict=True)
    config = [
        {key: value for key, value in (("Subnet", subnet), ("IPRange", inner), ("Gateway", door)) if value}
        for subnet, inner, door in pools
    ]
    return {
        "Name": network["name"],
        "Id": network["id"],
        "Created": network["created"],
        "Scope": "global",
        "Driver": "machinectl",
        "EnableIPv6": any(":" in one for one in network["subnets"]),
        "IPAM": {"Driver": "machinectl", "Options": {}, "Config": config},
        "Internal": network["internal"],
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {
            one["container"] or f"ep-{one['endpoint']}": _container(one, network["subnets"])
            for one in network["endpoints"]
        },
        "Options": dict(network["options"]),
        "Labels": dict(network["labels"]),
        "Vni": network["vni"],
        "Mtu": network["mtu"],
        "On": list(network["on"]),
        "Machines": [
            {"Name": one["name"], "Vtep": one["vtep"], "Alive": one["alive"]} for one in network["machines"]
        ],
    }


def _container(one: dict[str, Any], subnets: Sequence[str]) -> dict[str, Any]:
    return {
        "Name": one["name"],
        "EndpointID": one["endpoint"],
        "MacAddress": one["mac"],
        "IPv4Address": _with_length(one["ip"], subnets),
        "IPv6Address": _with_length(one["ip6"], subnets),
        "Machine": one["machine"],
        "Aliases": list(one["aliases"]),
    }


def _with_length(address: str, subnets: Sequence[str]) -> str:
    """Docker shows addresses with the subnet's prefix length."""
    fitting = [one.partition("/")[2] for one in subnets if (":" in one) == (":" in address)]
    return f"{address}/{fitting[0]}" if address and fitting else address


def remove_network(store: Store, name: str, *, machine: str = "", become: Become, quiet: bool) -> None:
    """Raises `AgentFailed` `network-in-use`, naming the containers and their machines, or `no-such-network`."""
    classic = [one for one in classic_machines(store) if machine in ("", one)]
    if machine not in classic and members(store):
        try:
            ask_member(store, "remove", {"name": name}, machine=machine, become=become, quiet=quiet)
        except AgentFailed as error:
            if error.problem != "no-such-network" or not classic:
                raise
        else:
            return
    if not classic:
        raise no_member()
    remove_classic(store, classic[0], name)


def forget_machine(
    store: Store, name: str, *, machine: str = "", force: bool = False, become: Become, quiet: bool
) -> dict[str, Any]:
    """Frees what a dead machine has in etcd: how many `endpoints` and `addresses`. Raises `AgentFailed`
    `machine-alive`, `no-such-machine`."""
    args = {"machine": name, "force": force}

    return with_member(
        store,
        lambda member: member.ask("forget", args),
        machine=machine,
        without=name,
        become=become,
        quiet=quiet,
    )


def lookup(
    store: Store, name: str, *, network: str = "", machine: str = "", become: Become, quiet: bool
) -> dict[str, Any]:
    """What the name means in the networks: `answers`, each with ip, name, machine, network, endpoint."""
    args = {"name": name, "network": network}
    return ask_member(store, "lookup", args, machine=machine, become=become, quiet=quiet)
