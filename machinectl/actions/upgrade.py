"""upgrade: the newest engine, machine after machine; the first that is not well afterwards is the last.

containers that run ─► agent: package lists, package, restart if it must ─► the same containers run ─► next
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from machinectl.actions.converge import bring
from machinectl.actions.fleet import Outcome, on_each
from machinectl.actions.health import running_containers, wait_well
from machinectl.actions.once import Once
from machinectl.actions.provision import UNKNOWN_OUTCOMES
from machinectl.actions.report import Report
from machinectl.actions.wishes import pending, resumed
from machinectl.errors import AgentFailed, EngineUnreachable, MachinectlError
from machinectl.model import Machine
from machinectl.remote.become import Become
from machinectl.remote.engine_client import engine_version
from machinectl.store.store import Store

ASK_DEADLINE = 10.0


@dataclass(frozen=True)
class Upgrade:
    """Versions as dockerd says them; `pin` as the user gave it, empty without one."""

    before: str
    after: str
    pin: str
    package: str
    """What was done, `upgrade docker.io A to B`: a distribution mends an engine without a new version of it."""


def upgrade(
    store: Store,
    names: Sequence[str],
    *,
    become: Become,
    quiet: bool = False,
    version: str | None = None,
    at_once: int = 1,
    keep_going: bool = False,
) -> list[Outcome[Upgrade]]:
    """`version`: the new pin, empty for none; None: the pin stays as it is. `at_once`: machines whose engines may
    be down at the same time. Machines behind one that failed are left as they are, unless `keep_going`."""
    for name in names:
        store.load(name)  # an unknown name is an error before anything changes

    def one(name: str) -> Upgrade:
        with store.machine_lock(name):
            return _upgrade(store, name, version, become, Report(name, quiet=quiet))

    outcomes: list[Outcome[Upgrade]] = []
    waiting = list(names)
    while waiting:
        batch, waiting = waiting[:at_once], waiting[at_once:]
        outcomes += on_each(batch, one, parallel=at_once)
        failed = [outcome.name for outcome in outcomes if outcome.error]
        if failed and not keep_going:
            why = f"{', '.join(failed)} failed before"
            outcomes += [Outcome(name, error=_left_alone(name, why)) for name in waiting]
            break
    return outcomes


def _upgrade(store: Store, name: str, version: str | None, become: Become, report: Report) -> Upgrade:
    present = store.load(name)
    machine = resumed(present)
    if version is not None:
        machine = dataclasses.replace(machine, engine=_pinned(machine, version))
    before, running = _running(store, machine)
    if machine != present and present.state == "ready":
        store.save(pending(present, machine))
    try:
        brought = bring(store, machine, become=become, report=report, once=Once(upgrade=True))
    except AgentFailed as error:
        if error.problem not in UNKNOWN_OUTCOMES:
            store.save(dataclasses.replace(store.load(name), pending={}))
        raise
    done = brought.machine
    wait_well(store, done, running)
    titles = [str(one["title"]) for one in brought.plan.steps if one["id"] == "packages/install"]
    package = titles[0].lstrip("+~ ") if titles else ""
    return Upgrade(before, done.engine_version, str(done.engine.get("version", "")), package)


def _running(store: Store, machine: Machine) -> tuple[str, dict[str, str]]:
    """The engine's version and its containers. Raises `EngineUnreachable`."""
    folder = store.folder(machine.name)
    try:
        answer = engine_version(machine.ip, machine.engine_port, folder, ASK_DEADLINE)
        return str(answer["Version"]), running_containers(store, machine)
    except EngineUnreachable as error:
        raise EngineUnreachable(
            "its engine does not answer: nobody could say whether it came through an upgrade",
            why=f"{error.what}: {error.why}",
            hint=f"machinectl start {machine.name}, or machinectl provision {machine.name}",
            problem=error.problem,
        ) from error


def _pinned(machine: Machine, version: str) -> dict[str, object]:
    """What is wanted of the engine, with the new pin in place of the old one."""
    engine = {key: value for key, value in machine.engine.items() if key != "version"}
    return {**engine, "version": version} if version else engine


def _left_alone(name: str, why: str) -> MachinectlError:
    return MachinectlError(
        "left as it is",
        why=why,
        hint="mend that machine and run the same command again, or --keep-going",
        machine=name,
        problem="not-begun",
    )
