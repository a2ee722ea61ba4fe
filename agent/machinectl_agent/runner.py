"""Plans and applies the phases.

    plan   every phase observes and plans: the whole plan, also for a dry run
    apply  phase by phase: observe again (an earlier phase has changed things), plan, apply the steps,
           and observe once more: after apply the plan is empty, or the phase is broken and says so

A run that changes nothing observes every phase once and is done.
"""

from __future__ import annotations

import errno
import time
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence

from machinectl_agent import wire
from machinectl_agent.host import Host
from machinectl_agent.phases.base import Context, Phase, Step, Work
from machinectl_agent.problems import Problem

Emit = Callable[[Mapping[str, Any]], None]


def make_plan(host: Host, context: Context, phases: Iterable[Phase]) -> Dict[str, List[Step]]:
    """Phase name → steps; changes nothing. Raises `Problem` where a wish can't be fulfilled."""
    return {phase.name: phase.plan(phase.observe(host, context), context) for phase in phases}


def apply(
    work: Work, context: Context, phases: Sequence[Phase], emit: Emit, *, hold: bool = False
) -> Optional[int]:
    """Applies every phase and returns how many steps that took. Raises `Problem` at the first that fails.

    `hold`: changes nothing and returns None where the plan interrupts dockerd; it is another machine's turn.
    """
    plan = make_plan(work.host, context, phases)
    emit(plan_event(plan))
    if hold and any(step.restarts for steps in plan.values() for step in steps):
        return None
    changed = 0
    for phase in phases:
        steps = plan[phase.name] if not changed else phase.plan(phase.observe(work.host, context), context)
        for step in steps:
            _apply_step(work, step, emit)
        changed += len(steps)
        if steps:
            _check_empty(work.host, context, phase)
    return changed


def plan_event(plan: Mapping[str, Sequence[Step]]) -> wire.Message:
    """The `plan` event: every step with its phase, title and diff, and the phases that have none."""
    steps = [{"phase": name, **step.to_json()} for name, steps in plan.items() for step in steps]
    return {"event": "plan", "steps": steps, "unchanged": [name for name, steps in plan.items() if not steps]}


def _apply_step(work: Work, step: Step, emit: Emit) -> None:
    emit({"event": "step", "id": step.id, "title": step.title, "state": "started"})
    began = time.monotonic()
    try:
        step.apply(work)
    except OSError as error:
        raise Problem(
            "step-failed",
            f"can't {step.title.lstrip('+~-! ')}: {error.strerror or error}",
            why=f"{error.filename or 'the host'}: {error.strerror or error}",
            hint=_HINTS.get(error.errno or 0, "look at the file and its folder on the host")
            + ", then run the same command again",
        ) from error
    seconds = round(time.monotonic() - began, 3)
    emit({"event": "step", "id": step.id, "title": step.title, "state": "done", "seconds": seconds})


_HINTS = {
    errno.ENOSPC: "make room on the host (`df -h` and `df -i` there say where)",
    errno.EDQUOT: "make room on the host (`quota` there says where)",
    errno.EROFS: "mount the file system writable (`findmnt` on the host shows how it is)",
}


def _check_empty(host: Host, context: Context, phase: Phase) -> None:
    left = phase.plan(phase.observe(host, context), context)
    if left:
        raise Problem(
            "not-converged",
            f"phase {phase.name} has been applied, and this is still left: {left[0].title}",
            why="something else on the host changes the same thing, or this is a fault of machinectl's",
            hint="look for another configuration tool on the host; run the same command with --debug",
        )
