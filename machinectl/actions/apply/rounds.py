"""Machines brought to what they should be: all at once where no engine restarts, the others in batches.

first    every machine; one whose engine would restart is held: nothing of it is changed
rolling  the held ones, batch by batch; the first that is not well afterwards is the last
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence

from machinectl.actions.apply.fleet_plan import remembers_other
from machinectl.actions.apply.options import ApplyOptions, batch_size
from machinectl.actions.apply.targets import Target
from machinectl.actions.context import add_context, check_context
from machinectl.actions.converge import Converged, bring
from machinectl.actions.fleet import Outcome, on_each
from machinectl.actions.health import running_containers, wait_well
from machinectl.actions.network.membership import HALF_DONE
from machinectl.actions.provision import UNKNOWN_OUTCOMES
from machinectl.actions.report import Report
from machinectl.actions.wishes import pending
from machinectl.errors import AgentFailed, MachinectlError, MachineNotFound
from machinectl.model import Machine
from machinectl.store.contents import keep_content
from machinectl.store.store import Store

Bring = Callable[[Target, bool], Converged]


def bring_all(store: Store, found: Sequence[Target], options: ApplyOptions) -> dict[str, Outcome[Converged]]:
    """Every machine's outcome, in the order of `found`. Raises nothing that is one machine's alone."""

    def one(target: Target, hold: bool) -> Converged:
        return bring_machine(store, target, options, hold=hold)

    outcomes = _first(found, options, one)
    held = [one for one in found if (result := outcomes[one.name].result) and result.held]
    outcomes.update(_rolling(store, held, options, one))
    return outcomes


def bring_machine(store: Store, target: Target, options: ApplyOptions, *, hold: bool) -> Converged:
    """One machine, locked, with its wish remembered before it is on its way."""
    report = options.report(target.name)
    try:
        if target.moves:
            target = _move(store, target, options, report)
        return _bring(store, target, options, report, hold=hold)
    finally:
        report.finished()


def _move(store: Store, target: Target, options: ApplyOptions, report: Report) -> Target:
    """The machine at its new address, and otherwise as it was."""
    from machinectl.actions.set_ip import set_ip  # noqa: PLC0415 - seldom

    wanted = target.wanted
    set_ip(
        store,
        target.name,
        wanted.ip,
        ssh_host=wanted.ssh.host,
        become=options.become_for(target),
        quiet=report.quiet,
        replace_host_key=options.replace_host_key,
    )
    return dataclasses.replace(target, present=store.load(target.name))


def _check_unchanged(store: Store, target: Target) -> None:
    """Somebody may have been at work on it since the plan was made."""
    try:
        now = store.load(target.name)
    except MachineNotFound:
        now = None
    new = target.present is None and (now is None or now.state == "new")
    if not new and now != target.present:
        raise MachinectlError(
            "it has been changed by another run meanwhile",
            hint="run the same command again",
            machine=target.name,
        )


def _bring(store: Store, target: Target, options: ApplyOptions, report: Report, *, hold: bool) -> Converged:
    with store.machine_lock(target.name):
        _check_unchanged(store, target)
        if target.context:
            check_context(store, target.name, target.name)
        for content in target.contents.values():
            keep_content(store, target.name, content)
        present = target.present
        if present and present.state == "ready" and remembers_other(target):
            # its id in the networks must be the same when a killed run is finished
            store.save(dataclasses.replace(pending(present, target.wanted), network=target.wanted.network))
        try:
            done = bring(
                store,
                dataclasses.replace(target.wanted, pending={}),
                become=options.become_for(target),
                report=report,
                replace_host_key=options.replace_host_key,
                take_over=options.take_over,
                hold=hold,
                once=options.once,
                trust_agent=True,
            )
        except MachinectlError as error:
            if present and present.state == "ready":
                _take_back(store, present, target.wanted, error)
            raise
        if done.held and present:
            store.save(present)
        if target.context and not done.held:
            add_context(store, done.machine)
        return done


def _take_back(store: Store, present: Machine, wanted: Machine, error: MachinectlError) -> None:
    """The host said no and is as it was: the inventory, not our memory, is what tries again."""
    machine = store.load(present.name)
    if isinstance(error, AgentFailed) and error.problem not in UNKNOWN_OUTCOMES:
        machine = dataclasses.replace(machine, pending={})
    if error.problem not in HALF_DONE and wanted.network != present.network:
        kept = {"id": wanted.network["id"]} if "id" in wanted.network else {}
        machine = dataclasses.replace(machine, network={"state": "out", **present.network, **kept})
    store.save(machine)


class _Gate:
    """Closes once too many machines have failed."""

    def __init__(self, max_fail: int | None) -> None:
        self._most = max_fail
        self._failed = 0
        self._lock = threading.Lock()

    def pass_through(self, name: str, work: Callable[[], Converged]) -> Converged:
        with self._lock:
            closed = self._most is not None and self._failed > self._most
        if closed:
            raise not_begun(name, f"{self._failed} machines have failed, and --max-fail is {self._most}")
        try:
            return work()
        except MachinectlError:
            with self._lock:
                self._failed += 1
            raise


def not_begun(name: str, why: str) -> MachinectlError:
    return MachinectlError(
        "not begun",
        why=why,
        hint="mend them, then run the same command again",
        machine=name,
        problem="not-begun",
    )


def _first(found: Sequence[Target], options: ApplyOptions, one: Bring) -> dict[str, Outcome[Converged]]:
    gate = _Gate(options.max_fail)
    by_name = {target.name: target for target in found}

    def work(name: str) -> Converged:
        # an engine that has not run yet is interrupted by nothing
        return gate.pass_through(name, lambda: one(by_name[name], True))

    return {outcome.name: outcome for outcome in on_each(list(by_name), work, parallel=options.parallel)}


def _rolling(
    store: Store, held: Sequence[Target], options: ApplyOptions, one: Bring
) -> dict[str, Outcome[Converged]]:
    by_name = {target.name: target for target in held}
    outcomes: dict[str, Outcome[Converged]] = {}
    waiting = list(by_name)
    failed: list[str] = []
    size = batch_size(options.serial, len(waiting))

    def work(name: str) -> Converged:
        before = _running(store, by_name[name].wanted)
        done = one(by_name[name], False)
        wait_well(store, done.machine, before)
        return done

    while waiting:
        batch, waiting = waiting[:size], waiting[size:]
        if len(failed) > (options.max_fail or 0):
            why = f"{', '.join(failed)} did not come through its engine's restart"
            outcomes.update({name: Outcome(name, error=not_begun(name, why)) for name in batch})
            continue
        for outcome in on_each(batch, work, parallel=options.parallel):
            outcomes[outcome.name] = outcome
            if outcome.error:
                failed.append(outcome.name)
    return outcomes


def _running(store: Store, machine: Machine) -> dict[str, str]:
    """Containers that run now; none where the engine can't be asked: then there is nothing to compare with."""
    try:
        return running_containers(store, machine)
    except MachinectlError:
        return {}
