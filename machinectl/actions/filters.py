"""`ls --filter KEY=VALUE`: the same key twice means or, different keys mean and (docker-machine)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from machinectl.errors import UsageError
from machinectl.model import DRIVER, Machine

KEYS = ("driver", "label", "name", "state", "swarm")


@dataclass(frozen=True)
class Filters:
    """Parsed filters; an empty tuple means: any."""

    driver: tuple[str, ...] = ()
    label: tuple[tuple[str, str], ...] = ()
    name: tuple[re.Pattern[str], ...] = ()
    state: tuple[str, ...] = ()
    swarm: tuple[str, ...] = ()

    def match(self, name: str, machine: Machine | None) -> bool:
        """All but the state. A damaged record (None) has only a name."""
        if self.name and not any(one.search(name) for one in self.name):
            return False
        if self.swarm:
            return False  # of classic Swarm, which no engine of today knows: no machine has a master
        if machine is None:
            return not (self.driver or self.label)
        if self.driver and DRIVER not in self.driver:
            return False
        return not self.label or any(one in labels(machine) for one in self.label)

    def match_state(self, state: str) -> bool:
        """The state alone, once it is known."""
        return not self.state or state.lower() in self.state


def parse_filters(words: Sequence[str]) -> Filters:
    """Raises UsageError with docker-machine's words."""
    found: dict[str, list[str]] = {key: [] for key in KEYS}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError("Unsupported filter syntax", why=f"{word!r} is not KEY=VALUE")
        if key.lower() not in found:
            raise UsageError(f"Unsupported filter key '{key.lower()}'", hint=f"there are {', '.join(KEYS)}")
        found[key.lower()].append(value)
    return Filters(
        driver=tuple(one.lower() for one in found["driver"]),
        label=tuple(_label(one) for one in found["label"]),
        name=tuple(_pattern(one) for one in found["name"]),
        state=tuple(one.lower() for one in found["state"]),
        swarm=tuple(found["swarm"]),
    )


def labels(machine: Machine) -> frozenset[tuple[str, str]]:
    """The labels that the engine was asked to have; values compare without case, as docker-machine does."""
    options = machine.engine.get("options") or {}
    return frozenset(_label(str(one)) for one in options.get("labels") or ())


def _label(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value.lower()


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(f"--filter name={text}: no regular expression", why=str(error)) from error
