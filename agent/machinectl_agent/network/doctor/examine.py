"""Runs the checks, in their order, all at the same time; with `fix` reconciles and looks again."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, Iterable, List, Tuple

from machinectl_agent.network.core import Core
from machinectl_agent.network.doctor.case import Case, open_case
from machinectl_agent.network.doctor.dns import check_dns
from machinectl_agent.network.doctor.docker import check_docker
from machinectl_agent.network.doctor.etcd import check_etcd
from machinectl_agent.network.doctor.finding import Finding
from machinectl_agent.network.doctor.firewall import check_firewall
from machinectl_agent.network.doctor.kernel import check_kernel
from machinectl_agent.network.doctor.leaks import check_leaks
from machinectl_agent.network.doctor.members import check_members
from machinectl_agent.network.doctor.questions import check_questions
from machinectl_agent.network.doctor.reach import check_reach

Check = Callable[[Case], Iterable[Finding]]

CHECKS: Tuple[Tuple[str, Check], ...] = (
    ("etcd", check_etcd),
    ("members", check_members),
    ("reach", check_reach),
    ("kernel", check_kernel),
    ("leaks", check_leaks),
    ("docker", check_docker),
    ("firewall", check_firewall),
    ("questions", check_questions),
    ("dns", check_dns),
)
"""Name and check: what everything hangs on first. All but `reach` and `dns` take milliseconds."""

REPAIRED = ("members", "kernel", "leaks", "docker")
"""Checks whose findings a reconcile can end."""


def doctor(core: Core, name: str, *, fix: bool = False) -> List[Dict[str, Any]]:
    """Findings as JSON: subject, what, why, hint, fixed, check. Raises `Problem` for an unknown network."""
    case = open_case(core, name)
    try:
        found = examine(case, CHECKS)
        if fix and any(one.check in REPAIRED for one in found):
            core.reconcile_now()
            again = open_case(core, name)
            try:
                left = examine(again, [one for one in CHECKS if one[0] in REPAIRED])
            finally:
                again.kv.close()
            found = mark_fixed(found, left)
    finally:
        case.kv.close()
    return [one.to_json() for one in found]


def examine(case: Case, checks: Iterable[Tuple[str, Check]]) -> List[Finding]:
    """A check that fails is a finding itself, and hides no other."""

    def one(entry: Tuple[str, Check]) -> List[Finding]:
        name, check = entry
        try:
            return [dataclasses.replace(found, check=name) for found in check(case)]
        except Exception as error:  # whatever is wrong with the host, the other checks go on
            what = f"the check {name} could not be done"
            return [Finding("doctor", what, f"{type(error).__name__}: {error}", check=name)]

    with ThreadPoolExecutor(len(CHECKS)) as pool:
        return [found for several in pool.map(one, checks) for found in several]


def mark_fixed(found: Iterable[Finding], left: Iterable[Finding]) -> List[Finding]:
    """Pure. What the reconcile has ended is marked; what is new since is added."""
    still = {(one.check, one.subject, one.what) for one in left}
    known = {(one.check, one.subject, one.what) for one in found}
    marked = [
        dataclasses.replace(
            one, fixed=one.check in REPAIRED and (one.check, one.subject, one.what) not in still
        )
        for one in found
    ]
    return [*marked, *(one for one in left if (one.check, one.subject, one.what) not in known)]
