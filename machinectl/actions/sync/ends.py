"""The two sides of a sync without rsync: this computer, or a machine; what both can be asked is the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from machinectl.actions.carry import LocalSink, LocalSource, MachineEnd
from machinectl.actions.report import Report
from machinectl.actions.sync.heard import check_entries, refused
from machinectl.actions.sync.orders import in_parts
from machinectl.errors import AgentFailed, MachinectlError
from machinectl.remote.become import Become
from machinectl.remote.connection import open_connection
from machinectl.remote.deadline import Deadline
from machinectl.remote.streams import ask_files
from machinectl.store.store import Store
from machinectl_agent.files.sync.changes import consume_changes, produce_changes
from machinectl_agent.files.sync.listing import Entry, list_digests, list_entries
from machinectl_agent.files.sync.settle import prepare, settle
from machinectl_agent.problems import Problem

OPS = {"listing": list_entries, "digests": list_digests, "prepare": prepare, "settle": settle}


class End(Protocol):
    """One side."""

    def ask(
        self, op: str, args: Mapping[str, Any], within: float
    ) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
        """The result and the events of one of `OPS`; `within` seconds: checksums of terabytes take hours, and an
        agent that says nothing is given up long before. Raises `MachinectlError`."""

    def producer(self, args: Mapping[str, Any]) -> MachineEnd | LocalSource: ...

    def consumer(self, args: Mapping[str, Any]) -> MachineEnd | LocalSink: ...


class HereEnd:
    """This computer."""

    def ask(
        self, op: str, args: Mapping[str, Any], within: float
    ) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
        events = _Events()
        try:
            return OPS[op](args, events), events.found
        except Problem as problem:
            raise AgentFailed(
                problem.what, why=problem.why, hint=problem.hint, problem=problem.code
            ) from problem

    def producer(self, args: Mapping[str, Any]) -> LocalSource:
        return LocalSource(lambda sink: produce_changes(args, sink, None))

    def consumer(self, args: Mapping[str, Any]) -> LocalSink:
        return LocalSink(lambda source: consume_changes(args, source, None))


class ThereEnd:
    """A machine, with the rights of `user`."""

    def __init__(self, store: Store, name: str, become: Become, user: str) -> None:
        self._store = store
        self.name = name
        self._become = become
        self._wanted = user

    @property
    def _user(self) -> str:
        """Empty for whoever logs in: that needs no sudo."""
        machine = self._store.load(self.name)
        login = machine.ssh.user or machine.login
        return "" if self._wanted == login and login != "root" else self._wanted

    def ask(
        self, op: str, args: Mapping[str, Any], within: float
    ) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
        events = _Events()
        machine = self._store.load(self.name)
        try:
            with open_connection(
                machine.ssh,
                machine=self.name,
                known_hosts=self._store.known_hosts,
                become=self._become,
            ) as connection:
                asked = {"op": op, **args}
                done = ask_files(connection, asked, user=self._user, deadline=within, on_event=events.emit)
        except MachinectlError as error:
            error.machine = error.machine or self.name
            raise
        return done, events.found

    def producer(self, args: Mapping[str, Any]) -> MachineEnd:
        return MachineEnd(self.name, "changes", args, self._user)

    def consumer(self, args: Mapping[str, Any]) -> MachineEnd:
        return MachineEnd(self.name, "changes", args, self._user)


def list_side(
    end: End, sources: Sequence[str], exclude: Sequence[str], *, missing: bool, within: float
) -> list[list[Entry]]:
    """The entries of each source. Raises AgentFailed for what can be in none, as `ask` does."""
    args = {"sources": list(sources), "exclude": list(exclude), "missing": missing}
    found: list[list[Entry]] = [[] for _ in sources]
    for event in end.ask("listing", args, within)[1]:
        if event.get("event") == "entries":
            try:
                found[event["source"]].extend(event["entries"])
            except (LookupError, TypeError) as error:
                raise refused(", ".join(sources), f"an event without entries: {event!r:.200}") from error
    for source, entries in zip(sources, found, strict=True):
        check_entries(source, entries)
    return found


def digests(end: End, root: str, paths: Sequence[str], clock: Deadline) -> list[str]:
    found: list[str] = []
    for part in in_parts(paths):
        found.extend(end.ask("digests", {"root": root, "paths": part}, clock.left())[0]["digests"])
    if len(found) != len(paths):
        raise refused(root, f"{len(found)} checksums of {len(paths)} files")
    return found


class _Events:
    """What an op says, kept."""

    def __init__(self) -> None:
        self.found: list[Mapping[str, Any]] = []

    def emit(self, message: Mapping[str, Any]) -> None:
        self.found.append(message)

    def log(self, text: str) -> None:
        Report("here").line(text)
