"""network join, leave: machines become members of machinectl's networks, and cease to be.

id in the store ─► certificate for etcd ─► agent: units, daemon.json's DNS, etcd ─► remembered
"""

from __future__ import annotations

import dataclasses
import ipaddress
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from machinectl.errors import MachinectlError, UsageError
from machinectl.model import Machine
from machinectl.store.store import Store
from machinectl_agent.spec import NetworkSpec

MEMBERS = ("member", "joining", "leaving")
"""States of machines that may be in etcd."""

HALF_DONE = (
    "agent-failed",
    "agent-silent",
    "agent-timeout",
    "controller-gone",
    "network-start-failed",
    "network-join-failed",
    "step-failed",
)
"""Problems after which the host may be on its way; `provision` or the same command goes on then."""


def network_spec(store: Store, machine: Machine) -> NetworkSpec | None:
    """What the machine's agent is told; None: leave it as it is. Issues or renews its certificate for etcd.

    Raises `MachinectlError` where there is no etcd."""
    wish = machine.network
    state = wish.get("state")
    if state == "leaving":
        return NetworkSpec(id=str(wish["id"]), absent=True, force=bool(wish.get("force")))
    if state not in ("member", "joining"):
        return None
    from machinectl.actions.etcd.access import endpoints, machine_certificate  # noqa: PLC0415 - only for members

    ca, cert, key = machine_certificate(store, machine.name)
    return NetworkSpec(
        id=str(wish["id"]),
        vtep=str(wish.get("vtep", "")),
        endpoints=tuple(endpoints(store)),
        ca=ca,
        cert=cert,
        key=key,
        pools=tuple(wish.get("pools", ())),
        pool_size=int(wish.get("pool_size", NetworkSpec.pool_size)),
    )


def settled(machine: Machine) -> Machine:
    """As it is once its agent has done what it was told."""
    after = {"joining": "member", "leaving": "out"}.get(str(machine.network.get("state")))
    if after is None:
        return machine
    kept = {key: value for key, value in machine.network.items() if key != "force"}
    return dataclasses.replace(machine, network={**kept, "state": after})


def joining(machine: Machine, advertise: str = "", pools: Sequence[str] = (), pool_size: int = 0) -> Machine:
    """With the wish to join; the id is minted where there is none yet. What is not given stays as it was."""
    present = machine.network
    wish = {**present, "id": present.get("id") or secrets.token_hex(8), "state": "joining"}
    if pools:
        wish["pools"] = list(pools)
    if pool_size:
        wish["pool_size"] = pool_size
    return dataclasses.replace(machine, network={**wish, "vtep": advertise or present.get("vtep", "")})


def check_pools(pools: Sequence[str], pool_size: int) -> tuple[str, ...]:
    """In their canonical form. Raises `UsageError` for what no subnet can be chosen from."""
    found = []
    for text in pools:
        try:
            net = ipaddress.ip_network(text)
        except ValueError as error:
            raise UsageError(
                f"--pool {text}: no network", why=str(error), hint="as in --pool 10.88.0.0/16"
            ) from None
        size = 64 if net.version == 6 else pool_size or NetworkSpec.pool_size
        if net.prefixlen > size:
            raise UsageError(
                f"--pool {net}: smaller than a subnet of /{size}",
                hint="a wider --pool" if net.version == 6 else "a wider --pool, or a larger --pool-size",
            )
        found.append(net)
    for index, net in enumerate(found):
        for other in found[:index]:
            if net.version == other.version and net.overlaps(other):
                raise UsageError(f"--pool {net} overlaps --pool {other}")
    return tuple(str(net) for net in found)


def leaving(machine: Machine, *, force: bool) -> Machine:
    """With the wish to leave; a machine that never joined by this store's knowledge gets an id all the same."""
    wish: dict[str, Any] = {**joining(machine).network, "state": "leaving"}
    return dataclasses.replace(machine, network={**wish, "force": True} if force else wish)


def is_member(machine: Machine) -> bool:
    return machine.network.get("state") in MEMBERS


def members(store: Store) -> list[str]:
    """Names of the machines that this store has let join. Records that can't be read are left out."""
    found = []
    for name in store.names():
        try:
            machine = store.load(name)
        except MachinectlError:
            continue
        if is_member(machine):
            found.append(name)
    return found


def check_advertise(names: Sequence[str], advertise: str) -> None:
    """Raises `UsageError`: one address is one machine's; the same interface name may be on many."""
    if len(names) > 1 and advertise and (":" in advertise or advertise.replace(".", "").isdigit()):
        raise UsageError(
            "--advertise is one machine's address",
            hint="name the interface instead (--advertise eth1), or join the machines one by one",
        )


def carry_out(store: Store, present: Machine, wanted: Machine, work: Callable[[Machine], object]) -> None:
    """`work` with the wish remembered before it begins: a killed run is finished by the next one. Where the host
    said no before anything changed, the machine stays what it was; its id stays in any case."""
    store.save(dataclasses.replace(present, network=wanted.network))
    try:
        work(wanted)
    except MachinectlError as error:
        if error.problem not in HALF_DONE:
            before = {"state": "out", **present.network, "id": wanted.network["id"]}
            store.save(dataclasses.replace(store.load(present.name), network=before))
        raise
