"""Addresses and endpoints in etcd that nobody has, and the other way round."""

from __future__ import annotations

from typing import Iterator, Mapping, Sequence, Set

from machinectl_agent.network.doctor.case import Case
from machinectl_agent.network.doctor.finding import Finding
from machinectl_agent.network.records import AddressRecord, EndpointRecord, NetworkRecord, decode

FREED = "freed by the agent within two minutes; `machinectl network doctor --fix` begins at once"


def check_leaks(case: Case) -> Iterator[Finding]:
    if case.away:
        return
    core = case.core
    local = {one.record.id for one in core.ledger.endpoints()}
    members = {one.id for one in case.machines}
    for network in case.networks:
        addresses = {
            one.key.rpartition("/")[2]: decode(AddressRecord, one.value)
            for pool in network.pools
            for one in case.kv.range(core.layout.addresses(pool.subnet)).items
        }
        endpoints = core.registry.endpoints(network.id)
        yield from leaked_addresses(network, addresses, endpoints, case.me, members)
        yield from leaked_endpoints(network, endpoints, local, case.me, members)
    known = {one.id for one in case.networks}
    there = {one.id for network in case.networks for one in core.registry.endpoints(network.id)}
    for one in core.ledger.endpoints():
        if one.record.network in known and one.record.id not in there:
            yield Finding(
                f"container {one.record.name or one.record.id[:12]}",
                "its endpoint is not in etcd: other machines can't reach it",
                "etcd was restored from an older backup, or somebody has deleted it there",
                "`machinectl network doctor --fix` puts it back",
            )


def leaked_addresses(
    network: NetworkRecord,
    addresses: Mapping[str, AddressRecord],
    endpoints: Sequence[EndpointRecord],
    me: str,
    members: Set[str],
) -> Iterator[Finding]:
    """Pure. Ours that no endpoint has, and those of machines that are no members."""
    used = {text for one in endpoints for text in (one.ip, one.ip6)}
    for address, record in sorted(addresses.items()):
        if record.kind != "endpoint" or address in used:
            continue
        if record.machine == me:
            yield Finding(
                f"network {network.name}", f"the address {address} is taken by no container", hint=FREED
            )
        elif record.machine not in members:
            yield Finding(
                f"network {network.name}",
                f"the address {address} belongs to a machine that is no member",
                record.machine,
                f"`machinectl network forget {record.machine}`",
            )


def leaked_endpoints(
    network: NetworkRecord, endpoints: Sequence[EndpointRecord], local: Set[str], me: str, members: Set[str]
) -> Iterator[Finding]:
    """Pure. Peers send packets for these to nobody."""
    for one in endpoints:
        name = one.name or one.id[:12]
        if one.machine == me and one.id not in local:
            yield Finding(
                f"network {network.name}",
                f"the endpoint {name} ({one.ip}) is of no container here",
                hint=FREED,
            )
        elif one.machine not in members:
            yield Finding(
                f"network {network.name}",
                f"the endpoint {name} ({one.ip}) is of a machine that is no member",
                one.machine,
                f"`machinectl network forget {one.machine}`",
            )
