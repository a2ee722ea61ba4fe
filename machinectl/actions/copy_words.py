"""`[[USER@]MACHINE:]PATH`: where a copy comes from and where it goes. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from machinectl.actions.patterns import choose_names
from machinectl.errors import UsageError


@dataclass(frozen=True)
class Spot:
    """A path here (`machine` empty) or on a machine; `machine` may be a pattern. `user` empty: whoever logs in."""

    machine: str
    user: str
    path: str

    def __str__(self) -> str:
        return f"{self.machine}:{self.path}" if self.machine else self.path


def parse_spot(text: str, names: Sequence[str]) -> Spot:
    """As scp(1): a colon before the first slash ends a machine's name, so that ./a:b is a file here. `localhost:` is
    this computer, as docker-machine has it, unless a machine is called so. Raises UsageError."""
    place, colon, path = text.partition(":")
    if not colon or "/" in place or not place:
        return Spot("", "", text)
    user, at, machine = place.rpartition("@")
    if not machine or (at and not user):
        raise UsageError(f"{text}: no machine is named", hint="[[USER@]MACHINE:]PATH")
    if machine == "localhost" and machine not in names:
        return Spot("", "", path or ".")
    return Spot(machine, user, path)


def one_machine(spot: Spot, names: Sequence[str]) -> Spot:
    """A source: its pattern must mean one machine. Raises UsageError, MachineNotFound."""
    if not spot.machine:
        return spot
    found = choose_names([spot.machine], names)
    if len(found) > 1:
        raise UsageError(
            f"{spot.machine} means {len(found)} machines",
            why="files of several machines would get the same name",
            hint="copy from each of them into a folder of its own",
        )
    return Spot(found[0], spot.user, spot.path)


def group_sources(sources: Sequence[Spot]) -> list[tuple[Spot, list[str]]]:
    """Those of one machine and user go over together, in the order in which they were named first."""
    groups: dict[tuple[str, str], list[str]] = {}
    for one in sources:
        groups.setdefault((one.machine, one.user), []).append(one.path)
    return [(Spot(machine, user, ""), paths) for (machine, user), paths in groups.items()]


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def parse_rate(text: str) -> int:
    """Bytes per second: `500K`, `10M`, `1.5M/s`. Raises UsageError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)i?(?:B?(?:/s)?)", text, re.IGNORECASE)
    rate = int(float(found[1]) * _UNITS[found[2].upper()]) if found else 0
    if rate <= 0:
        raise UsageError(f"--limit-rate {text}: bytes per second are wanted", hint="500K, 10M, 1G")
    return rate
