"""Which family of distributions a host belongs to."""

from __future__ import annotations

from typing import Tuple

from machinectl_agent.facts import Facts
from machinectl_agent.problems import Problem
from machinectl_agent.provisioners.arch import Arch
from machinectl_agent.provisioners.base import Provisioner
from machinectl_agent.provisioners.debian import Debian
from machinectl_agent.provisioners.redhat import RedHat
from machinectl_agent.provisioners.suse import Suse

FAMILIES: Tuple[Provisioner, ...] = (Debian(), RedHat(), Suse(), Arch())


def choose(facts: Facts, wanted_os: str) -> Provisioner:
    """By `wanted_os` (`--os`: a family's name or an ID of it) where given, else by ID, then by ID_LIKE in its
    order. Raises `Problem` `unknown-os`."""
    words = (wanted_os,) if wanted_os else (facts.os_id, *facts.os_like)
    for word in words:
        for family in FAMILIES:
            if word.lower() == family.name or word.lower() in family.ids:
                return family
    known = ", ".join(f"{family.name} ({', '.join(family.ids)})" for family in FAMILIES)
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
