"""Which family of distributions a host belongs to."""

from __future__ import annotations

import importlib
from typing import Iterator

from machinectl_agent.facts import Facts
from machinectl_agent.problems import Problem
from machinectl_agent.provisioners.base import Provisioner

FAMILIES = (("debian", "Debian"), ("redhat", "RedHat"), ("suse", "Suse"), ("arch", "Arch"))
"""Module and class, in the order in which they are asked; one is loaded when those before it did not fit."""


def families() -> Iterator[Provisioner]:
    """All of them."""
    for module, name in FAMILIES:
        yield getattr(importlib.import_module(f"machinectl_agent.provisioners.{module}"), name)()


def choose(facts: Facts, wanted_os: str) -> Provisioner:
    """By `wanted_os` (`--os`: a family's name or an ID of it) where given, else by ID, then by ID_LIKE in its
    order. Raises `Problem` `unknown-os`."""
    words = (wanted_os,) if wanted_os else (facts.os_id, *facts.os_like)
    for word in words:
        for family in families():
            if word.lower() == family.name or word.lower() in family.ids:
                return family
    known = ", ".join(f"{family.name} ({', '.join(family.ids)})" for family in families())
    if wanted_os:
        what, why = f"there is no OS family {wanted_os!r}", f"known: {known}"
        raise Problem("unknown-os", what, why=why, hint="give --os one of these words, or leave it out")
    raise Problem(
        "unknown-os",
        f"this distribution is not known: {facts.os_name} (ID={facts.os_id})",
        why=f"known: {known}",
        hint="name the family that it is like with --os, or install Docker Engine yourself and run the same"
        " command again: an engine that is there is adopted",
    )
