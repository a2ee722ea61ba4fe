"""Phase `packages`: Docker Engine and the sources it comes from, by the host's family of distributions."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, List, Optional

from machinectl_agent.host import Host
from machinectl_agent.phases.base import Context, Step
from machinectl_agent.problems import Problem
from machinectl_agent.provisioners.base import Installed, Provisioner
from machinectl_agent.provisioners.choose import choose
from machinectl_agent.provisioners.engine_version import matches
from machinectl_agent.provisioners.installed import find_engine
from machinectl_agent.provisioners.upgrade import check_upgradable


@dataclass(frozen=True)
class Seen:
    """What the family's provisioner saw; without a family only the engine itself."""

    family: Optional[Provisioner]
    packages: Any
    installed: Installed
    """Filled in where there is no family."""


class PackagesPhase:
    """On a distribution that nobody knows, an engine that is there is enough, if it may stay as it is."""

    name = "packages"

    def observe(self, host: Host, context: Context) -> Seen:
        engine = context.spec.engine
        try:
            family = choose(context.facts, context.spec.host.os)
        except Problem:
            installed = find_engine(host, {}, ())
            if not installed.dockerd or engine.packages or context.spec.host.os:
                raise
            if engine.version and not matches(engine.version, installed.version):
                raise
            return Seen(None, None, installed)
        return Seen(family, family.observe(host, context.facts, engine), Installed("", "", "", False))

    def plan(self, seen: Seen, context: Context) -> List[Step]:
        if seen.family is None:
            return []
        if context.spec.engine.upgrade:
            check_upgradable(seen.packages.installed)
        steps = seen.family.plan(seen.packages, context.facts, context.spec.engine)
        if not seen.packages.installed.dockerd:
            return steps
        return [dataclasses.replace(one, restarts=one.id in _ENGINE_STEPS) for one in steps]


_ENGINE_STEPS = ("packages/install", "packages/replace", "packages/files")
"""Of all families; where an engine is there already, its package restarts it."""
