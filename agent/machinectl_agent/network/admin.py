"""What people ask of the networks of all machines; any member can answer, for the state is in etcd."""

from __future__ import annotations

import dataclasses
import secrets
import time
from functools import partial
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from machinectl_agent.engine.api import ApiError
from machinectl_agent.kv.interface import KvError
from machinectl_agent.network.core import Core
from machinectl_agent.network.driver import own_options
from machinectl_agent.network.lease import Alive
from machinectl_agent.network.records import EndpointRecord, NetworkRecord, Pool
from machinectl_agent.network.registry.errors import NetworkInUse
from machinectl_agent.network.underlay import routed_subnets
from machinectl_agent.problems import Problem

HERE_DEADLINE = 10.0
"""Seconds that `create` and `remove` wait for this machine's Docker; the other machines follow by themselves."""


class Admin:
    """Each method is a verb: args → result, or `Problem`."""

    def __init__(self, core: Core, alive: Alive) -> None:
        self._core = core
        self._alive = alive

    def networks(self, args: Mapping[str, Any]) -> Dict[str, Any]:
        """All of them, with how many endpoints each has on all machines."""
        registry = self._core.registry
        with _etcd():
            return {
                "networks": [
                    {**_shown(one), "endpoints": len(registry.endpoints(one.id))}
                    for one in sorted(registry.networks(), key=lambda one: one.name)
                ]
            }

    def network(self, args: Mapping[str, Any]) -> Dict[str, Any]:
        """One network, its endpoints on all machines, and the machines."""
        registry = self._core.registry
        with _etcd():
            record = self._find(_text(args, "name"))
            machines = {one.id: one for one in registry.machines()}
            alive = set(registry.alive())
            endpoints = registry.endpoints(record.id)
        return {
            "network": {
                **_shown(record),
                "options": dict(record.options),
                "endpoints": [self._endpoint(one, machines) for one in endpoints],
                "machines": [
                    {"name": one.name, "id": one.id, "vtep": one.vtep, "alive": one.id in alive}
                    for one in sorted(machines.values(), key=lambda one: one.name)
                    if not record.on or one.name in record.on
                ],
            }
        }

    def create(self, args: Mapping[str, Any]) -> Dict[str, Any]:
        """name, subnets, ranges, gateways, mtu, internal, ipv6, labels, options, on. Every machine makes its
        replica as soon as it sees the record; this one's is waited for."""
        core, name = self._core, _text(args, "name")
        options = {str(key): str(value) for key, value in dict(args.get("options") or {}).items()}
        own = own_options(options)
        self._check_free(name)
        network = secrets.token_hex(32)
        with _etcd():
            pools = self._pools(args)
            try:
                record = core.registry.create_network(
                    network=network,
                    name=name,
                    pools=pools,
                    mtu=int(args.get("mtu") or own["mtu"] or 0),
                    internal=bool(args.get("internal")),
                    labels={str(key): str(value) for key, value in dict(args.get("labels") or {}).items()},
                    options=options,
                    on=tuple(args.get("on") or [name for name in own["on"].split(",") if name]),
                    vni=int(own["vni"] or 0),
                )
            except Problem:
                for pool in pools:
                    core.registry.release_pool(pool.subnet)
                raise
        wanted_here = not record.on or core.settings.name in record.on
        here = wanted_here and self._wait(lambda: record.id in core.ledger.networks())
        return {"network": _shown(record), "here": here}

    def remove(self, args: Mapping[str, Any]) -> Dict[str, Any]:
        """Refused while any machine has containers in it: `network-in-use` lists them."""
        core = self._core
        with _etcd():
            record = self._find(_text(args, "name"))
            try:
                core.registry.delete_network(record.id)
            except NetworkInUse as problem:
                machines = {one.id: one for one in core.registry.machines()}
                shown = [self._endpoint(one, machines) for one in core.registry.endpoints(record.id)]
                raise Problem(
                    "network-in-use",
                    f"network {record.name} has {len(shown)} endpoints",
                    why=", ".join(
                        f"{one['name'] or one['endpoint'][:12]} on {one['machine']}" for one in shown[:20]
                    ),
                    hint="remove or disconnect these containers first",
                ) from problem
        gone = self._wait(lambda: record.id not in core.ledger.networks())
        return {"network": _shown(record), "here": not gone}

    def forget(self, args: Mapping[str, Any]) -> Dict[str, Any]:
        """A machine (its name or id) that does not come back: its endpoints, addresses and names are freed."""
        core, wanted = self._core, _text(args, "machine")
        with _etcd():
            found = [one for one in core.registry.machines() if wanted in (one.id, one.name)]
            if not found:
                raise Problem(
                    "no-such-machine", f"no machine {wanted} has joined", hint="`machinectl network ls`"
                )
            if found[0].id == core.settings.id:
                raise Problem(
                    "is-this-machine",
                    f"{wanted} answers: it is alive",
                    hint=f"`machinectl network leave {wanted}`",
                )
            gone = core.registry.forget(found[0].id, force=bool(args.get("force")))
        return dataclasses.asdict(gone)

    def machines(self, args: Mapping[str, Any]) -> Dict[str, Any]:
        """All members: name, id, vtep, alive, agent."""
        with _etcd():
            alive = set(self._core.registry.alive())
            found = sorted(self._core.registry.machines(), key=lambda one: one.name)
        return {"machines": [{**dataclasses.asdict(one), "alive": one.id in alive} for one in found]}

    def lookup(self, args: Mapping[str, Any]) -> Dict[str, Any]:
        """Who has a name or an address: name; network to look in one only."""
        core, name, wanted = self._core, _text(args, "name"), str(args.get("network") or "")
        answers = []
        with _etcd():
            networks = [self._find(wanted)] if wanted else core.registry.networks()
            machines = {one.id: one for one in core.registry.machines()}
            alive = set(core.registry.alive())
            for network in networks:
                bare = _bare(name, network.name)
                for one in core.registry.endpoints(network.id):
                    if bare in names_of(one):
                        shown = self._endpoint(one, machines)
                        answers.append({**shown, "network": network.name, "alive": one.machine in alive})
        return {"name": name, "answers": answers}

    def doctor(self, args: Mapping[str, Any]) -> Dict[str, Any]:
        """Findings of this machine; name of one network, or all. `fix` reconciles."""
        from machinectl_agent.network.doctor import doctor  # noqa: PLC0415 - its checks are seldom asked for

        return {"findings": doctor(self._core, str(args.get("name") or ""), fix=bool(args.get("fix")))}

    def leave(self, args: Mapping[str, Any]) -> Dict[str, Any]:
        """This machine is no longer a member: its replicas, its records and its lease go. Refused with containers."""
        core = self._core
        left = core.ledger.endpoints()
        if left and not args.get("force"):
            names = ", ".join(one.record.name or one.record.id[:12] for one in left[:20])
            raise Problem(
                "endpoints-left",
                f"{len(left)} containers of this machine are in machinectl networks",
                why=names,
                hint="remove or disconnect them, or add --force",
            )
        core.leaving = True
        try:
            self._remove_replicas()
            self._alive.end()
            core.registry.forget(core.settings.id, force=True)
        except (KvError, ApiError) as error:
            core.leaving = False
            raise Problem(
                "leave-failed", "the machine could not leave", why=str(error), hint="try again"
            ) from error
        return {}

    def _remove_replicas(self) -> None:
        core = self._core
        if not core.engine_up:
            return
        for one in core.engine.networks():
            core.removing.add(one.docker_id)
            core.engine.remove_network(one.docker_id)

    def _pools(self, args: Mapping[str, Any]) -> Tuple[Pool, ...]:
        """Claims the subnets; the gateway is fixed now, or each machine's Docker would choose one."""
        registry = self._core.registry
        subnets: List[str] = list(args.get("subnets") or ())
        ranges, gateways = list(args.get("ranges") or ()), list(args.get("gateways") or ())
        wanted: List[Tuple[str, bool]] = [(one, ":" in one) for one in subnets]
        if not any(not v6 for _, v6 in wanted):
            wanted.insert(0, ("", False))
        if args.get("ipv6") and not any(v6 for _, v6 in wanted):
            wanted.append(("", True))
        pools: List[Pool] = []
        try:
            for subnet, v6 in wanted:
                inner = _inside(ranges, subnet)
                pool = self._core.settling.ask(
                    partial(registry.request_pool, subnet, inner, v6=v6, avoid=routed_subnets()),
                    lambda made: registry.release_pool(made.subnet),
                )
                pools.append(Pool(pool.subnet, pool.range))
                gateway = registry.request_address(
                    pool.subnet, _inside(gateways, pool.subnet), kind="gateway"
                )
                pools[-1] = Pool(pool.subnet, pool.range, gateway.partition("/")[0])
        except (Problem, KvError):
            for made in pools:
                registry.release_pool(made.subnet)
            raise
        return tuple(pools)

    def _check_free(self, name: str) -> None:
        if any(one.name == name for one in self._core.view.networks().values()):
            raise Problem(
                "name-taken",
                f"there is a network {name} already",
                hint=f"`machinectl network inspect {name}`",
            )

    def _find(self, name: str) -> NetworkRecord:
        found: Optional[NetworkRecord] = self._core.registry.find_network(name)
        if found is None:
            raise Problem("no-such-network", f"there is no network {name}", hint="`machinectl network ls`")
        return found

    def _endpoint(self, one: EndpointRecord, machines: Mapping[str, Any]) -> Dict[str, Any]:
        machine = machines.get(one.machine)
        return {
            "endpoint": one.id,
            "machine": machine.name if machine else one.machine,
            "container": one.container,
            "name": one.name,
            "aliases": list(one.aliases),
            "ip": one.ip,
            "ip6": one.ip6,
            "mac": one.mac,
        }

    def _wait(self, condition: Callable[[], bool]) -> bool:
        end = time.monotonic() + HERE_DEADLINE
        while not condition() and self._core.engine_up and time.monotonic() < end:
            time.sleep(0.01)
        return condition()


class _etcd:  # noqa: N801 - reads as a statement
    """Says in a person's words that etcd is away."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: Any, error: Optional[BaseException], _trace: Any) -> None:
        if isinstance(error, KvError):
            raise Problem(
                "etcd-away", "etcd does not answer", why=str(error), hint="`machinectl etcd status`"
            ) from error


def names_of(one: EndpointRecord) -> Tuple[str, ...]:
    """Everything that a container is found by."""
    return tuple(name for name in (one.name, *one.aliases, one.container[:12], one.ip, one.ip6) if name)


def _told(one: Mapping[str, Any]) -> str:
    return f"{one['name'] or one['endpoint'][:12]} on {one['machine']}"


def _bare(name: str, network: str) -> str:
    name = name.rstrip(".")
    return name[: -len(network) - 1] if name.endswith(f".{network}") else name


def _shown(one: NetworkRecord) -> Dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "driver": "machinectl",
        "subnets": [pool.subnet for pool in one.pools],
        "ranges": [pool.range for pool in one.pools],
        "gateways": [pool.gateway for pool in one.pools],
        "internal": one.internal,
        "mtu": one.mtu,
        "vni": one.vni,
        "on": list(one.on),
        "labels": dict(one.labels),
        "created": one.created,
    }


def _inside(candidates: Sequence[str], subnet: str) -> str:
    """The one of these ranges or addresses that lies in the subnet; the first where the subnet is chosen later."""
    import ipaddress  # noqa: PLC0415 - only for people's commands

    for one in candidates:
        network = ipaddress.ip_network(one, strict=False)
        outer = ipaddress.ip_network(subnet, strict=False) if subnet else None
        if outer is not None and network.version == outer.version and network.subnet_of(outer):  # type: ignore[arg-type]
            return str(one)
    return ""


def _text(args: Mapping[str, Any], name: str) -> str:
    value = args.get(name)
    if not isinstance(value, str) or not value:
        raise Problem("wire", f"{name}: a text is wanted")
    return value
