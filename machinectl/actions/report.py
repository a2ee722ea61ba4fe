"""Progress for people, on stderr: a line per thing that happened, headed by the machine's name."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

_WRITING = threading.Lock()


class Report:
    """One machine's progress. Safe in threads: a line is never torn. Silent when `quiet`."""

    def __init__(self, machine: str, *, quiet: bool = False) -> None:
        self.machine = machine
        self.quiet = quiet

    def line(self, text: str) -> None:
        if self.quiet:
            return
        with _WRITING:
            for one in text.splitlines() or [""]:
                # what a host says must not move the cursor or set the title of somebody's terminal
                safe = "".join(sign if sign.isprintable() else "?" for sign in one)
                print(f"{self.machine}: {safe}", file=sys.stderr, flush=True)

    def now(self, text: str) -> None:
        """What it is at, often: for a terminal only."""

    def warn(self, text: str) -> None:
        """What must not be lost among the progress."""
        self.line(f"warning: {text}")

    def finished(self) -> None:
        """The machine's turn is over."""

    def event(self, message: Mapping[str, Any]) -> None:
        """One event of the agent's (wire.py)."""
        kind = message.get("event")
        if kind == "facts":
            facts = message["facts"]
            self.line(f"{facts['os_name']}, {facts['arch']}, Python {facts['python']}")
        elif kind == "plan":
            self.line(plan_summary(message["steps"]))
        elif kind == "step" and message.get("state") == "done":
            self.line(f"{message['title']} ({message['seconds']:.1f} s)")
        elif kind == "warning":
            self.warn(str(message.get("text", "")))
        elif kind == "log":
            self.line(str(message.get("text", "")))


def plan_summary(steps: Sequence[Mapping[str, Any]]) -> str:
    if not steps:
        return "everything is as it should be"
    return f"{len(steps)} thing{'s' if len(steps) > 1 else ''} to do"


def render_plan(machine: str, steps: Sequence[Mapping[str, Any]]) -> str:
    """The plan as --dry-run prints it: a title per step, its diff indented below."""
    lines = [f"{machine}: {plan_summary(steps)}"]
    for step in steps:
        lines.append(f"  {step['title']}")
        lines.extend(f"      {line}" for line in str(step.get("diff", "")).splitlines())
    return "\n".join(lines)
