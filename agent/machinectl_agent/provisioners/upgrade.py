"""Upgrades of the engine: whether there can be one, and what is offered, asked before anything is planned."""

from __future__ import annotations

from typing import Callable

from machinectl_agent.facts import Facts
from machinectl_agent.host import Host
from machinectl_agent.problems import Problem
from machinectl_agent.provisioners.base import Installed
from machinectl_agent.provisioners.choose import choose
from machinectl_agent.spec import Spec


def refresh(host: Host, facts: Facts, spec: Spec, log: Callable[[str], None]) -> None:
    """The package lists as the sources have them now. Raises `Problem`, also for wishes that exclude each other."""
    engine = spec.engine
    if engine.adopt:
        raise Problem(
            "engine-adopted",
            "the engine of this machine was adopted: machinectl does not upgrade it",
            hint="upgrade it by whatever installed it",
        )
    if engine.packages:
        raise Problem(
            "engine-from-files",
            "the engine of this machine comes from uploaded package files",
            hint="machinectl provision NAME --engine-package FILE … with newer ones",
        )
    choose(facts, spec.host.os).refresh(host, log)


def check_upgradable(installed: Installed) -> None:
    """Raises `Problem` `engine-foreign` for an engine that no package owns."""
    if installed.dockerd and not installed.package:
        raise Problem(
            "engine-foreign",
            f"{installed.dockerd} can't be upgraded",
            why="it belongs to no package that could be exchanged for a newer one",
            hint="replace it by hand, or remove it: `provision` then installs a package",
        )
