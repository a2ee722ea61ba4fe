"""sync: a folder on many machines at once, by rsync where both ends have it, else by the agents' checksums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from machinectl.actions.fleet import PARALLEL, Outcome, on_each
from machinectl.actions.interruptible import on_each_until_interrupted
from machinectl.actions.sync.by_agent import Origin, sync_by_agent
from machinectl.actions.sync.by_rsync import Children, Fit, SshRefused, local_fit, probe, sync_by_rsync
from machinectl.actions.sync.ends import HereEnd, ThereEnd
from machinectl.actions.sync.places import Route, home_path
from machinectl.actions.sync.result import Synced
from machinectl.errors import MachinectlError, UsageError
from machinectl.model import Machine
from machinectl.remote.become import Become
from machinectl.remote.connection import CONNECT_DEADLINE, open_connection
from machinectl.remote.rsync import Wish
from machinectl.store.store import Store

WAYS = ("auto", "rsync", "agent")

WITHIN = 6 * 3600.0
"""Seconds for each machine, unless the user says otherwise; a machine that falls silent costs two minutes."""

Say = Callable[[str, str], None]
"""Machine, what goes on there."""


class Sync:
    """One run: where from, where to, how. Its processes end when it is interrupted."""

    def __init__(
        self,
        store: Store,
        route: Route,
        wish: Wish,
        *,
        way: str,
        become: Become,
        within: float,
        say: Say,
        over: Callable[[str], None],
    ) -> None:
        self._store = store
        self._route = route
        self._wish = wish
        self._way = way
        self._become = become
        self._within = within
        self._say = say
        self._over = over
        self._unfit = local_fit() if way != "agent" else "--way agent was said"
        self._children = Children()
        source = route.source
        sources = [home_path(one) for one in route.sources] if source else route.sources
        self._origin = Origin(self._there(source) if source else HereEnd(), sources, wish)

    def run(self, parallel: int = PARALLEL) -> list[Outcome[Synced]]:
        """An outcome for each machine. Raises UsageError for what is wrong on all of them."""
        if not self._route.source:
            check_local(self._route.sources, self._route.target)
        names = self._route.machines or (self._route.source,)
        if not self._route.machines:
            # in this thread: Ctrl-C then clears up what is half here
            return on_each(names, self._one)
        return on_each_until_interrupted(names, self._one, stop=self._children.end, parallel=parallel)

    def _one(self, name: str) -> Synced:
        try:
            return self._synced(name)
        finally:
            self._over(name)

    def _synced(self, name: str) -> Synced:
        machine = self._store.load(name)  # here: a damaged record is its own machine's failure
        if self._route.source and self._route.machines:
            why = "rsync does not go from machine to machine"
        else:
            fit = self._fit(machine)
            why = fit.why_not
            if not why:
                try:
                    return self._by_rsync(machine, fit)
                except SshRefused as error:
                    why = f"{error.what}: {error.why}"
        if self._way == "rsync":
            raise MachinectlError("rsync can't be used", why=why, hint="leave --way rsync out", machine=name)
        return self._by_agent(machine, why)

    def _fit(self, machine: Machine) -> Fit:
        if self._unfit:
            return Fit(why_not=self._unfit)
        self._say(machine.name, "connecting")
        with open_connection(
            machine.ssh,
            machine=machine.name,
            known_hosts=self._store.known_hosts,
            become=self._become,
            deadline=min(CONNECT_DEADLINE, self._within),
        ) as connection:
            return probe(connection, self._route.user or "root")

    def _by_rsync(self, machine: Machine, fit: Fit) -> Synced:
        return sync_by_rsync(
            self._store,
            machine,
            self._route.sources,
            self._route.target,
            self._wish,
            push=not self._route.source,
            there=fit.there,
            within=self._within,
            report=lambda now: self._say(machine.name, str(now)),
            running=self._children.add,
        )

    def _by_agent(self, machine: Machine, why: str) -> Synced:
        if why:
            self._say(machine.name, f"{why}: by the agent's checksums")
        here = not self._route.machines
        try:
            return sync_by_agent(
                self._store,
                self._origin,
                HereEnd() if here else self._there(machine.name),
                self._route.target if here else home_path(self._route.target),
                self._wish,
                become=self._become,
                within=self._within,
                report=lambda now: self._say(machine.name, now),
            )
        except MachinectlError as error:
            if error.problem == "agent-timeout":
                error.why = f"all of it was given {self._within:g} s"
                error.hint = "give it more with --timeout SECONDS; run it again: only what is missing is sent"
            raise

    def _there(self, name: str) -> ThereEnd:
        return ThereEnd(self._store, name, self._become, self._route.user or "root")


def check_local(sources: Sequence[str], target: str) -> None:
    """Raises UsageError for a source that is not there: one error, not one for each machine."""
    for one in sources:
        path = Path(one)
        try:
            path.lstat()
            if one.endswith("/") and not path.is_dir():
                raise UsageError(f"{one} is no folder")
            if not path.is_dir() and not target.endswith("/") and target:
                raise UsageError(
                    f"{one} is no folder",
                    why="a sync is of folders",
                    hint=f"PATTERN:{target}/, or machinectl scp",
                )
        except OSError as error:
            raise UsageError(f"{one} can't be read", why=error.strerror or str(error)) from error
