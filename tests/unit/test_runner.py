"""Phases are planned before anything changes, applied in order, and must leave an empty plan."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import pytest

from machinectl_agent import wire
from machinectl_agent.facts import gather
from machinectl_agent.host import Host
from machinectl_agent.phases.base import Context, Step, Work
from machinectl_agent.problems import Problem
from machinectl_agent.runner import apply
from machinectl_agent.session import Session
from machinectl_agent.spec import EngineSpec, Spec, TlsSpec


class Counter:
    """A phase that wants a number of steps; every step takes `by` off."""

    def __init__(self, name, wanted, by=1, trouble=None):
        self.name, self.left, self.by, self.trouble = name, wanted, by, trouble
        self.observed = 0

    def observe(self, host, context):
        self.observed += 1
        return self.left

    def plan(self, seen, context):
        return [
            Step(f"{self.name}/{number}", f"+ {self.name} {number}", self._take) for number in range(seen)
        ]

    def _take(self, work):
        if self.trouble:
            raise self.trouble
        self.left -= self.by


@pytest.fixture
def context(tmp_path):
    host = Host(str(tmp_path))
    spec = Spec("n", EngineSpec(), TlsSpec("a", "b", "c"))
    return Work(host, lambda _: None, lambda _: None), Context(spec, gather(host))


def test_everything_is_planned_first_and_applied_in_order(context):
    work, about = context
    events: list[Mapping[str, Any]] = []
    assert apply(work, about, (Counter("one", 1), Counter("two", 2)), events.append) == 3
    assert events[0]["event"] == "plan"
    assert [step["id"] for step in events[0]["steps"]] == ["one/0", "two/0", "two/1"]
    done = [event["id"] for event in events if event.get("state") == "done"]
    assert done == ["one/0", "two/0", "two/1"]


def test_a_run_without_changes_observes_each_phase_once(context):
    work, about = context
    phases = (Counter("one", 0), Counter("two", 0))
    assert apply(work, about, phases, lambda _: None) == 0
    assert [phase.observed for phase in phases] == [1, 1]


def test_a_phase_that_leaves_something_is_a_fault(context):
    work, about = context
    with pytest.raises(Problem) as left:
        apply(work, about, (Counter("stubborn", 1, by=0),), lambda _: None)
    assert left.value.code == "not-converged"
    assert "stubborn" in left.value.what


def test_a_full_disk_in_a_step_is_a_problem_with_the_steps_title(context):
    work, about = context
    full = OSError(28, "No space left on device")
    with pytest.raises(Problem, match="No space left on device") as failed:
        apply(work, about, (Counter("one", 1, trouble=full),), lambda _: None)
    assert failed.value.what.startswith("can't one 0: ")
    assert "df -h" in failed.value.hint


class Broken(io.BytesIO):
    def write(self, _):
        raise BrokenPipeError


def test_a_run_whose_controller_went_away_stops_before_the_next_step():
    session = Session(io.BytesIO(), Broken())
    session.emit({"event": "log", "text": "nobody hears it"})
    with pytest.raises(Problem) as gone:
        session.emit({"event": "step", "state": "started", "id": "x", "title": "x"})
    assert gone.value.code == "controller-gone"


def test_files_that_are_needed_are_asked_for_and_waited_for():
    out = io.BytesIO()
    Session(io.BytesIO(wire.encode({"reply": "need"})), out).need([{"name": "a.deb"}])
    assert wire.decode(out.getvalue())["files"] == [{"name": "a.deb"}]
    with pytest.raises(Problem, match="went away"):
        Session(io.BytesIO(), io.BytesIO()).need([])


def test_a_request_of_another_version_is_refused_with_a_hint():
    with pytest.raises(Problem) as refused:
        Session(io.BytesIO(b'{"wire":99,"verb":"apply","args":{}}\n'), io.BytesIO()).read_request()
    assert refused.value.code == "wire-version"
    assert "machinectl agent upgrade" in refused.value.hint
