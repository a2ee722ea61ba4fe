"""The machines' records: two with one VTEP, some that are not heard of, and our own."""

from __future__ import annotations

from typing import Dict, Iterator, List, Sequence

from machinectl_agent.network import underlay
from machinectl_agent.network.doctor.case import Case
from machinectl_agent.network.doctor.finding import Finding
from machinectl_agent.network.records import MachineRecord


def check_members(case: Case) -> Iterator[Finding]:
    yield from duplicates(case.machines)
    yield from own_record(case)
    for one in case.peers:
        if one.id not in case.alive and not case.away:
            yield Finding(
                f"machine {one.name}",
                "it has not been heard of for longer than its lease",
                "its agent does not run, or it does not reach etcd; its addresses stay taken",
                f"`machinectl agent status {one.name}`; or for ever: `machinectl network forget {one.name}`",
            )


def duplicates(machines: Sequence[MachineRecord]) -> Iterator[Finding]:
    """Pure."""
    by_vtep: Dict[str, List[str]] = {}
    for one in machines:
        by_vtep.setdefault(one.vtep, []).append(one.name)
    for vtep, names in sorted(by_vtep.items()):
        if len(names) > 1:
            yield Finding(
                f"machines {', '.join(sorted(names))}",
                f"they have the same VTEP address {vtep}",
                "packets for the containers of one go to the other",
                "forget the one that is gone (`machinectl network forget NAME`), or give each its own: "
                "`machinectl network join --advertise ADDRESS NAME`",
            )


def own_record(case: Case) -> Iterator[Finding]:
    mine = next((one for one in case.machines if one.id == case.me), None)
    subject = f"machine {case.core.settings.name}"
    if mine is None and not case.away:
        yield Finding(
            subject,
            "etcd has no record of it: peers send it nothing",
            "it was forgotten, or etcd was restored from an older backup",
            "`machinectl network doctor --fix` registers it again",
        )
    elif mine is not None:
        if not underlay.is_here(mine.vtep):
            yield Finding(
                subject,
                f"its VTEP address {mine.vtep} is on none of its links",
                "peers send to an address that this machine no longer has",
                "`machinectl network doctor --fix` takes the address that leads to etcd",
            )
        elif mine.vtep != case.core.fabric.vtep:
            yield Finding(
                subject,
                f"etcd has the VTEP address {mine.vtep} for it, and it uses {case.core.fabric.vtep}",
                hint="`machinectl network doctor --fix` registers it again",
            )
        if mine.id not in case.alive and not case.away:
            yield Finding(
                subject,
                "it runs, and counts as dead in etcd",
                "its lease has ended, as the agent did not reach etcd in time",
                f"`journalctl -u machinectl-network` on {case.core.settings.name}",
            )
