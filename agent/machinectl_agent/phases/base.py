"""What a phase is: observe (reads only), plan (pure), and steps that apply.

The law that one test checks over all phases: after apply, the plan is empty.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Protocol, Tuple

from machinectl_agent.facts import Facts
from machinectl_agent.host import Host
from machinectl_agent.spec import Spec


@dataclass(frozen=True)
class Work:
    """What a step needs while it applies: the host, and ways to speak to the controller."""

    host: Host
    log: Callable[[str], None]
    """A line of progress for people."""
    need: Callable[[List[Dict[str, Any]]], None]
    """Asks the controller for files (name, sha256, path) and returns when they are in place."""


@dataclass(frozen=True)
class Step:
    """One change. Its title begins with `+` (new), `~` (changed), `-` (removed) or `!` (a restart)."""

    id: str
    title: str
    apply: Callable[[Work], None] = field(repr=False, compare=False)
    diff: str = ""
    """A unified diff where a file changes, without secrets."""
    restarts: bool = False
    """dockerd, which runs, is down for a moment."""

    def to_json(self) -> Dict[str, Any]:
        return {"id": self.id, "title": self.title, "diff": self.diff, "restarts": self.restarts}


@dataclass(frozen=True)
class Context:
    """What every phase may look at: the wanted state and the host's facts."""

    spec: Spec
    facts: Facts


class Phase(Protocol):
    """One part of the wanted state. `observe`'s answer is passed to `plan` and to nobody else."""

    name: str

    def observe(self, host: Host, context: Context) -> Any:
        """Reads the host and changes nothing."""

    def plan(self, seen: Any, context: Context) -> List[Step]:
        """Pure. Raises `Problem` where the wish can't be fulfilled, before anything has changed."""


def text_diff(name: str, before: str, after: str) -> str:
    """A unified diff with the file's path as its heading; empty where nothing changes."""
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"{name} (now)", f"{name} (wanted)", lineterm="", n=2
    )
    return "\n".join(lines)


def write_step(
    phase: str, name: str, before: str, after: str, mode: int = 0o644, note: str = ""
) -> Tuple[Step, ...]:
    """The step that gives a file this text; none where it has it. `before` is empty where it is missing."""
    if before == after:
        return ()
    sign = "~" if before else "+"
    title = f"{sign} write {name}" + (f" ({note})" if note else "")
    return (
        Step(
            f"{phase}/write {name}",
            title,
            lambda work: work.host.write(name, after, mode),
            text_diff(name, before, after),
        ),
    )
