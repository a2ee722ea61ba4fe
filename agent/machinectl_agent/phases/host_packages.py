"""Phase `host-packages`: packages of the distribution that the user wants on the host, beside the engine's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Callable, Collection, List

from machinectl_agent.host import Host
from machinectl_agent.phases.base import Context, Step, Work
from machinectl_agent.phases.record import Record, change_record, read_record
from machinectl_agent.problems import Problem
from machinectl_agent.provisioners.choose import choose

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._:@-]*")
"""A package's name in all families; no pattern and no option of the package manager's."""


@dataclass(frozen=True)
class Seen:
    """Which of the packages in question are there, and which of those came by us."""

    present: Collection[str]
    record: Record


class HostPackagesPhase:
    """Upgrades nothing: a package that is there is good enough."""

    name = "host-packages"

    def observe(self, host: Host, context: Context) -> Seen:
        record = read_record(host)
        wanted = context.spec.host.packages
        for name in wanted:
            if not NAME.fullmatch(name):
                raise Problem("package-unknown", f"{name!r} is no package's name")
        names = sorted({*wanted, *record.packages})
        if not names:
            return Seen((), record)
        return Seen(choose(context.facts, context.spec.host.os).present(host, names), record)

    def plan(self, seen: Seen, context: Context) -> List[Step]:
        wanted, mine = context.spec.host.packages, context.spec.controller
        lacking = [name for name in dict.fromkeys(wanted) if name not in seen.present]
        steps = []
        if lacking:
            title = f"+ install {', '.join(lacking)}"
            steps.append(Step(f"{self.name}/install", title, _installer(context, lacking)))
        for name, controller in seen.record.packages.items():
            if name not in wanted and controller == mine:
                there = name in seen.present
                title = f"- remove {name}" if there else f"- forget {name}, which is gone"
                steps.append(Step(f"{self.name}/remove {name}", title, _remover(context, name, there=there)))
        return steps


def _installer(context: Context, names: List[str]) -> Callable[[Work], None]:
    def apply(work: Work) -> None:
        family = choose(context.facts, context.spec.host.os)
        for name in names:
            change_record(work.host, "packages", name, context.spec.controller)
        family.install(work.host, *names)

    return apply


def _remover(context: Context, name: str, *, there: bool) -> Callable[[Work], None]:
    def apply(work: Work) -> None:
        if there and not choose(context.facts, context.spec.host.os).remove(work.host, name):
            work.log(f"{name} stays: another package needs it")
        change_record(work.host, "packages", name, None)

    return apply
