"""scp -d: by rsync, so that of files which are there already only what changed travels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from machinectl.actions.copy import HERE, How, Reporter
from machinectl.actions.copy_words import Spot, group_sources, one_machine
from machinectl.actions.fleet import PARALLEL, Outcome
from machinectl.actions.interruptible import on_each_until_interrupted
from machinectl.actions.patterns import choose_names
from machinectl.actions.report import Report
from machinectl.actions.sync.by_rsync import Children, local_fit, probe, sync_by_rsync
from machinectl.actions.sync.result import Synced
from machinectl.actions.sync.sync import WITHIN
from machinectl.errors import MachinectlError, UsageError
from machinectl.model import Machine
from machinectl.remote.become import Become
from machinectl.remote.connection import open_connection
from machinectl.remote.rsync import Wish
from machinectl.remote.rsync_output import Progress
from machinectl.store.store import Store


@dataclass(frozen=True)
class _Run:
    store: Store
    wish: Wish
    become: Become
    children: Children

    def one(
        self, machine: str, user: str, sources: Sequence[str], target: str, report: Report, *, push: bool
    ) -> Synced:
        record = self.store.load(machine)
        with open_connection(
            record.ssh, machine=machine, known_hosts=self.store.known_hosts, become=self.become
        ) as connection:
            fit = probe(connection, user or connection.settings.user)
        if fit.why_not:
            raise _unfit(fit.why_not, machine)
        try:
            return self._rsync(record, sources, target, report, fit.there, push=push)
        except MachinectlError as error:
            if error.problem == "denied":
                error.hint = f"root@{machine}:PATH does it as root"
            raise

    def _rsync(
        self, record: Machine, sources: Sequence[str], target: str, report: Report, there: str, *, push: bool
    ) -> Synced:
        return sync_by_rsync(
            self.store,
            record,
            sources,
            target,
            self.wish,
            push=push,
            there=there,
            within=WITHIN,
            report=lambda now: report.event(_at(now)),
            running=self.children.add,
        )


def copy_delta(
    store: Store,
    sources: Sequence[Spot],
    destination: Spot,
    how: How,
    *,
    become: Become,
    reporter: Reporter,
    parallel: int = PARALLEL,
) -> list[Outcome[list[Synced]]]:
    """As `copy.copy`: an outcome for each destination. A trailing / on a folder means what is in it, as with rsync.
    Raises UsageError and MachineNotFound before anything is done."""
    names = store.names()
    groups = group_sources([one_machine(one, names) for one in sources])
    apart = [spot.machine for spot, _ in groups if spot.machine]
    if destination.machine and apart:
        raise UsageError(
            "rsync does not go from machine to machine", hint="leave -d out, or machinectl sync for a folder"
        )
    if not destination.machine and len(apart) < len(groups):
        raise UsageError("neither end is on a machine", hint="rsync -a copies on this computer")
    if why := local_fit():
        raise _unfit(why)
    wish = Wish(
        checksum=how.checksum,
        archive=how.archive,
        compress=how.compress,
        limit_rate=how.limit_rate,
        recursive=how.recursive or how.archive,
        follow=not how.archive,
    )
    run = _Run(store, wish, become, Children())

    def one(name: str) -> list[Synced]:
        report = reporter(name)
        try:
            if destination.machine:
                paths = [path for _, paths in groups for path in paths]
                return [run.one(name, destination.user, paths, destination.path, report, push=True)]
            return [
                run.one(spot.machine, spot.user, paths, destination.path, report, push=False)
                for spot, paths in groups
            ]
        finally:
            report.finished()

    targets = choose_names([destination.machine], names) if destination.machine else [HERE]
    outcomes = on_each_until_interrupted(targets, one, stop=run.children.end, parallel=parallel)
    for outcome in outcomes:
        if outcome.error and outcome.error.machine == HERE:
            outcome.error.machine = ""
    return outcomes


def _at(now: Progress) -> dict[str, object]:
    """rsync counts all files together."""
    size = now.done * 100 // now.percent if now.percent else 0
    said = {"name": "rsync", "size": size, "done": now.done, "bytes": now.done}
    return {"event": "at", **said}


def _unfit(why: str, machine: str = "") -> MachinectlError:
    return MachinectlError(
        "-d needs rsync on both sides", why=why, hint="leave -d out, or install rsync", machine=machine
    )
