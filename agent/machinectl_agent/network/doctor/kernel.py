"""FDB, neighbours, routes, links of each network in the kernel against etcd."""

from __future__ import annotations

from typing import Iterator

from machinectl_agent.network.doctor.case import Case
from machinectl_agent.network.doctor.finding import Finding

FIX = "`machinectl network doctor --fix` programs it again"


def check_kernel(case: Case) -> Iterator[Finding]:
    core = case.core
    wanted = {one.record.network for one in core.ledger.endpoints()}
    for record in case.networks:
        if record.id not in wanted:
            continue
        subject = f"network {record.name or record.id[:12]}"
        if record.id not in core.fabric.local():
            yield Finding(subject, "it has containers here, and is not in the kernel", hint=FIX)
            continue
        for text in core.fabric.findings(record):
            yield Finding(subject, text, "the kernel differs from etcd", FIX)
