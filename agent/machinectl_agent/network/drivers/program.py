"""Forwarding facts → the kernel's entries: what must be asked of it so that it has them all, and no others."""

from __future__ import annotations

from typing import Container, Iterator, List

from machinectl_agent.network.drivers.forwarding import MAC, VTEP, Changes, Forwarding
from machinectl_agent.network.netlink import entries as kernel
from machinectl_agent.network.netlink.entries import ANY_MAC, Entries


def requests(changes: Changes, vxlan: int, local: Container[str]) -> Iterator[bytearray]:
    """`local`: MACs that have a port here; the bridge goes on sending them there."""
    for (kind, name), (before, after) in changes.items():
        if kind == MAC and after:
            yield kernel.put_remote(vxlan, name, after, bridged=name not in local)
        elif kind == MAC and before:
            yield kernel.drop_remote(vxlan, name, before)
            yield kernel.drop_bridged(vxlan, name)
        elif kind == VTEP:
            yield kernel.put_flood(vxlan, name) if after else kernel.drop_remote(vxlan, ANY_MAC, name)
        elif after:
            yield kernel.put_neighbour(vxlan, name, after)
        else:
            yield kernel.drop_neighbour(vxlan, name)


def difference(wanted: Forwarding, found: Entries, vxlan: int) -> List[bytearray]:
    """From what the kernel has to what is wanted: nothing that is right is touched."""
    return [*_remote(wanted, found, vxlan), *_flood(wanted, found, vxlan), *_neighbours(wanted, found, vxlan)]


def _remote(wanted: Forwarding, found: Entries, vxlan: int) -> Iterator[bytearray]:
    remote = wanted.remote()
    learned = {mac for mac, _ in found.learned}
    for mac, vtep in remote.items():
        there = found.remote.get(mac, set())
        bridged = mac in found.bridged or mac in found.local
        if there == {vtep} and bridged and mac not in learned:
            continue
        yield kernel.put_remote(vxlan, mac, vtep, bridged=mac not in found.local)
    for mac in found.remote.keys() - remote.keys() - {ANY_MAC}:
        yield from (kernel.drop_remote(vxlan, mac, one) for one in sorted(found.remote[mac]))
    for mac in found.bridged - remote.keys():
        yield kernel.drop_bridged(vxlan, mac)


def _flood(wanted: Forwarding, found: Entries, vxlan: int) -> Iterator[bytearray]:
    there, vteps = found.remote.get(ANY_MAC, set()), wanted.vteps()
    yield from (kernel.put_flood(vxlan, one) for one in sorted(vteps - there))
    yield from (kernel.drop_remote(vxlan, ANY_MAC, one) for one in sorted(there - vteps))


def _neighbours(wanted: Forwarding, found: Entries, vxlan: int) -> Iterator[bytearray]:
    neighbours = wanted.neighbours()
    learned = {address for address, where in found.learned if where == "neighbour"}
    for address, mac in neighbours.items():
        if found.neighbours.get(address) != mac or address in learned:
            yield kernel.put_neighbour(vxlan, address, mac)
    for address in found.neighbours.keys() - neighbours.keys():
        yield kernel.drop_neighbour(vxlan, address)
