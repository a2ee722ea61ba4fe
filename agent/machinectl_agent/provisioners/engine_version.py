"""Versions of Docker Engine: what a pin like `20.10.6` means among the versions that a source offers.

Packages decorate Docker's version: `5:20.10.6~3-0~debian-bookworm` (Docker's apt), `3:26.1.4-1.el9`
(Docker's rpm), `20.10.24+dfsg1-1+deb12u1` (Debian), `1:28.5.2-1` (Arch). The epoch in front says nothing
about Docker, a person may leave it out.
"""

from __future__ import annotations

import re
from typing import List, Optional, Sequence, Tuple

from machinectl_agent.problems import Problem

SHOWN = 12
"""Versions that an error lists; Docker's repositories hold about a hundred."""


def without_epoch(version: str) -> str:
    """`5:26.1.4-1` → `26.1.4-1`."""
    return re.sub(r"^\d+:", "", version)


def upstream(version: str) -> str:
    """Docker's own number: `5:20.10.6~3-0~debian-bookworm` → `20.10.6`, `20.10.24+dfsg1-1` → `20.10.24`."""
    match = re.match(r"\d+(?:\.\d+)*", without_epoch(version))
    return match[0] if match else ""


def matches(wanted: str, version: str) -> bool:
    """By whole components: `20.10` takes 20.10.6 and not 20.1, `20.10.6` does not take 20.10.60.

    A full package version takes only itself; its epoch is compared where the wish has one.
    """
    wanted = wanted.removeprefix("v")
    if ":" not in wanted:
        version = without_epoch(version)
    if not version.startswith(wanted):
        return False
    rest = version[len(wanted) :]
    return not rest or not rest[0].isalnum()


def order_key(version: str) -> Tuple[int, Tuple[Tuple[int, int, str], ...]]:
    """Sorts versions as dpkg and rpm do: epoch, then runs of digits by value, `~` before the end."""
    epoch = re.match(r"(\d+):", version)
    parts: List[Tuple[int, int, str]] = []
    for word in re.findall(r"\d+|[A-Za-z]+|~", without_epoch(version)):
        if word == "~":
            parts.append((-1, 0, ""))
        elif word.isdigit():
            parts.append((2, int(word), ""))
        else:
            parts.append((1, 0, word))
    return int(epoch[1]) if epoch else 0, (*parts, (0, 0, ""))


def newest(versions: Sequence[str]) -> Optional[str]:
    """The highest; None of none."""
    return max(versions, key=order_key) if versions else None


def resolve(wanted: str, package: str, offered: Sequence[str]) -> str:
    """The highest offered version that fits. Raises `Problem` `engine-version-unknown` with the offers."""
    found = newest([version for version in offered if matches(wanted, version)])
    if found is not None:
        return found
    listed = sorted(set(offered), key=order_key, reverse=True)
    more = f" and {len(listed) - SHOWN} older ones" if len(listed) > SHOWN else ""
    raise Problem(
        "engine-version-unknown",
        f"no package source of this host offers {package} in version {wanted}",
        why=f"offered: {', '.join(listed[:SHOWN])}{more}" if listed else f"no source offers {package} at all",
        hint="ask for one of those, or name another source with --engine-mirror URL"
        if listed
        else "name a source with --engine-mirror URL, e.g. https://download.docker.com",
    )
