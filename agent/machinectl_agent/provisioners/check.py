"""Wishes that no package source can fulfil, whatever the distribution."""

from __future__ import annotations

from machinectl_agent.problems import Problem
from machinectl_agent.provisioners.base import Installed
from machinectl_agent.provisioners.engine_version import matches
from machinectl_agent.spec import EngineSpec


def check_adoptable(installed: Installed) -> None:
    """Raises `Problem` `engine-missing` where `adopt` has nothing to adopt."""
    if not installed.dockerd:
        raise Problem(
            "engine-missing",
            "there is no Docker Engine on this host to adopt",
            why="--adopt never installs one, and no dockerd was found",
            hint="`machinectl create` without --adopt installs one",
        )


def check_foreign(installed: Installed, engine: EngineSpec) -> None:
    """An engine that no package owns is taken as it is. Raises `Problem` `engine-foreign` where it does not
    satisfy the pin."""
    if engine.version and not matches(engine.version, installed.version):
        raise Problem(
            "engine-foreign",
            f"this host has Docker Engine {installed.version or '(unknown)'}, and {engine.version} is wanted",
            why=f"{installed.dockerd} belongs to no package that can be exchanged for another version",
            hint="remove it from the host, or leave --engine-version out to adopt it",
        )
