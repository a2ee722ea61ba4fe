"""Classic mode: Docker's own overlay networks, with etcd as the engines' `cluster-store` (Engine before 23).

join ─► daemon.json, certificates, v2 API checked by the agent ─► dockerd restarts, containers live on
create ─► one dockerd makes the network, etcd tells the others
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from machinectl.actions.network.classic_networks import MTU, OVERLAY, is_classic
from machinectl.actions.network.engines import Engines
from machinectl.actions.provision import Change, provision
from machinectl.errors import MachinectlError, UsageError
from machinectl.model import Machine
from machinectl.remote.become import Become
from machinectl.store.store import Store

FIRST_WITHOUT = 23
"""Docker removed cluster-store in this Engine."""


def join_classic(
    store: Store,
    names: Sequence[str],
    endpoints: Sequence[str],
    *,
    prefix: str = "",
    advertise: str = "",
    become: Become,
    quiet: bool = False,
    dry_run: bool = False,
) -> None:
    """`endpoints`: etcd's client URLs. `advertise`: the machine's address towards the others where that is not the
    one it is managed by; for one machine only. Raises before anything changes: `UsageError`, or the error of a
    machine whose engine has no cluster-store; else as `provision`."""
    machines = [store.load(name) for name in names]
    check_endpoints(endpoints)
    if advertise and len(machines) > 1:
        raise UsageError("--advertise is one machine's address", hint="join the machines one by one with it")
    for machine in machines:
        check_engine(machine)
        check_address(machine, advertise)
    wish = {"endpoints": list(endpoints), "prefix": prefix.strip("/"), "advertise": advertise}
    provision(store, names, Change({"cluster": wish}), become=become, quiet=quiet, dry_run=dry_run)


def leave_classic(
    store: Store, names: Sequence[str], *, become: Become, quiet: bool = False, dry_run: bool = False
) -> None:
    """The engines forget etcd. Refuses where a machine still has containers on an overlay network."""
    engines = Engines(store, names)
    for name in names:
        used = used_networks(engines, name)
        if used and not dry_run:
            raise MachinectlError(
                f"containers are on Docker's overlay networks: {', '.join(sorted(used))}",
                why="they would lose them",
                hint=f"`machinectl network migrate {min(used)}` moves them to a network of machinectl's",
                machine=name,
            )
    provision(store, names, Change({"cluster": None}), become=become, quiet=quiet, dry_run=dry_run)


def classic_machines(store: Store) -> list[str]:
    """Names of the machines that are in classic mode."""
    return [name for name in store.names() if store.load(name).engine.get("cluster")]


def used_networks(engines: Engines, machine: str) -> set[str]:
    """Names of Docker's overlay networks that this machine's containers are on, stopped ones too."""
    listed = engines.call(machine, "GET", "/networks")
    overlays = {one["Id"]: one["Name"] for one in listed if is_classic(one)}
    used = set()
    for container in engines.call(machine, "GET", "/containers/json?all=1"):
        for settings in container["NetworkSettings"]["Networks"].values():
            used.add(overlays.get(settings["NetworkID"], ""))
    return used - {""}


def create_classic(
    store: Store,
    machine: str,
    name: str,
    *,
    subnets: Sequence[str] = (),
    ranges: Sequence[str] = (),
    gateways: Sequence[str] = (),
    mtu: int = 0,
    internal: bool = False,
    labels: Mapping[str, str] | None = None,
) -> str:
    """One dockerd makes it, the others see it through etcd; its id. Raises `EngineRefused`, `EngineUnreachable`."""
    check_joined(store.load(machine))
    body = render_create(name, subnets, ranges, gateways, mtu, internal, labels or {})
    return str(Engines(store, [machine]).call(machine, "POST", "/networks/create", body)["Id"])


def list_classic(engines: Engines) -> list[dict[str, Any]]:
    """Docker's overlay networks as the first of these machines has them, by name: every one has all of them."""
    listed = engines.call(engines.names[0], "GET", "/networks")
    return sorted((one for one in listed if is_classic(one)), key=lambda one: str(one["Name"]))


def remove_classic(store: Store, machine: str, name: str) -> None:
    """Raises `EngineRefused` while containers are on it, on whatever machine."""
    Engines(store, [machine]).call(machine, "DELETE", f"/networks/{name}")


def render_create(
    name: str,
    subnets: Sequence[str],
    ranges: Sequence[str],
    gateways: Sequence[str],
    mtu: int,
    internal: bool,
    labels: Mapping[str, str],
) -> dict[str, Any]:
    """Pure: the body of `POST /networks/create`; a range and a gateway belong to the subnet that holds them."""
    config = []
    for subnet in subnets:
        whole = ipaddress.ip_network(subnet)
        one = {"Subnet": subnet}
        for key, texts in (("IPRange", ranges), ("Gateway", gateways)):
            inside = [text for text in texts if ipaddress.ip_address(text.partition("/")[0]) in whole]
            if inside:
                one[key] = inside[0]
        config.append(one)
    return {
        "Name": name,
        "CheckDuplicate": True,
        "Driver": OVERLAY,
        "Internal": internal,
        "IPAM": {"Config": config},
        "Options": {MTU: str(mtu)} if mtu else {},
        "Labels": dict(labels),
    }


def check_engine(machine: Machine) -> None:
    """Raises `MachinectlError` for an engine that is known to have no cluster-store; the agent looks at the real
    one as well."""
    major = machine.engine_version.partition(".")[0]
    if major.isdigit() and int(major) >= FIRST_WITHOUT:
        raise MachinectlError(
            f"Docker Engine {machine.engine_version} has no overlay networks of its own without Swarm",
            why=f"Docker removed cluster-store in Engine {FIRST_WITHOUT}",
            hint=f"`machinectl network join {machine.name}` without --driver: those run on any engine",
            machine=machine.name,
            problem="engine-option-removed",
        )


def check_joined(machine: Machine) -> None:
    """Raises `MachinectlError`: dockerd's own word would be about a datastore."""
    if not machine.engine.get("cluster"):
        raise MachinectlError(
            "this machine is not in classic mode",
            hint=f"`machinectl network join --driver overlay {machine.name}`",
            machine=machine.name,
        )


def check_endpoints(endpoints: Sequence[str]) -> None:
    """Raises `UsageError`: dockerd takes one scheme for all of them."""
    if not endpoints:
        raise MachinectlError("there is no etcd", hint="`machinectl etcd deploy --v2 MACHINE…` first")
    if len({url.partition("://")[0] for url in endpoints}) > 1:
        raise UsageError(f"some of etcd's endpoints are https and some http: {', '.join(endpoints)}")


def check_address(machine: Machine, advertise: str) -> None:
    """Raises `UsageError` where it is a name: dockerd's gossip binds to the address."""
    address = advertise or machine.ip
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise UsageError(
            f"{machine.name}: {address} is a name, and cluster-advertise needs an address of the host",
            hint=f"machinectl network join --driver overlay --advertise IP {machine.name}",
        ) from None
