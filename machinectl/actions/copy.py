"""scp: files and folders from here to machines, from a machine to here, or from machine to machine.

for each destination (in parallel) ─► for each source's machine ─► [what is there already?] ─► carry
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from machinectl.actions.carry import WITHIN, Carried, LocalSink, LocalSource, MachineEnd, carry
from machinectl.actions.copy_words import Spot, group_sources, one_machine
from machinectl.actions.fleet import PARALLEL, Outcome
from machinectl.actions.interruptible import on_each_until_interrupted
from machinectl.actions.patterns import choose_names
from machinectl.actions.report import Report
from machinectl.errors import CONNECTION_BROKEN, AgentFailed, MachinectlError, UsageError
from machinectl_agent.problems import Problem

if TYPE_CHECKING:
    from machinectl.remote.become import Become
    from machinectl.store.store import Store

HERE = "this computer"

Reporter = Callable[[str], Report]


@dataclass(frozen=True)
class How:
    """scp's flags."""

    recursive: bool = False
    times: bool = False
    archive: bool = False
    checksum: bool = False
    resume: bool = False
    compress: bool = False
    limit_rate: int = 0
    direct: bool = True
    total: bool = False
    """Count first: for a progress bar."""


def copy(
    store: Store,
    sources: Sequence[Spot],
    destination: Spot,
    how: How,
    *,
    become: Become,
    reporter: Reporter,
    parallel: int = PARALLEL,
) -> list[Outcome[list[Carried]]]:
    """One outcome for each destination. Raises UsageError and MachineNotFound before anything is done."""
    names = store.names()
    groups = group_sources([one_machine(one, names) for one in sources])
    if destination.machine:
        targets = choose_names([destination.machine], names)
    elif any(spot.machine for spot, _ in groups):
        targets = [""]
    else:
        raise UsageError("neither end is on a machine", hint="cp copies files on this computer")

    def one(name: str) -> list[Carried]:
        report = reporter(name or HERE)
        target = Spot(name, destination.user, destination.path)
        try:
            return [
                _copy_group(store, spot, paths, target, len(groups) > 1, how, become, report)
                for spot, paths in groups
            ]
        finally:
            report.finished()

    if targets == [""]:
        # in this thread: Ctrl-C then clears up what is half here
        try:
            return [Outcome(HERE, one(""))]
        except MachinectlError as error:
            return [Outcome(HERE, error=error)]
    # a machine's end clears up by itself when the connection ends
    return on_each_until_interrupted(targets, one, stop=lambda: None, parallel=parallel)


def _copy_group(
    store: Store,
    source: Spot,
    paths: Sequence[str],
    target: Spot,
    into: bool,
    how: How,
    become: Become,
    report: Report,
) -> Carried:
    kept = {"archive": how.archive, "times": how.times, "recursive": how.recursive or how.archive}
    produce: dict[str, Any] = {**kept, "verify": how.checksum, "total": how.total}
    names = names_of(paths)
    consume = {**kept, "target": _text(target), "into": into, "resume": how.resume, "names": names}
    if how.resume:
        produce["partial"] = _partial(store, target, names, become)
    if source.machine:
        produce.update(sources=[path or "." for path in map(_wire, paths)], glob=True)
    else:
        produce["sources"] = [_wire(_here(path)) for path in paths]
    try:
        done = carry(
            store,
            _source(source, produce, report),
            _destination(target, consume, report),
            become=become,
            report=report,
            direct=how.direct,
            limit_rate=how.limit_rate,
            compress=how.compress,
        )
    except MachinectlError as error:
        if error.problem == "permission-denied" and not error.machine:
            error.hint = ""  # who reads and writes here is not ours to choose
        if error.problem == CONNECTION_BROKEN:
            error.hint = "the same with --resume goes on with what has come; without it, it begins anew"
        raise
    report.event({"event": "whole"})  # the last words on how far it is may be a little older
    return done


def names_of(paths: Sequence[str]) -> list[str] | None:
    """What the roots of these paths may be called: a machine that was broken into sends nothing else. None: that
    can't be told from here."""
    names = [_wire(path).rstrip("/").rpartition("/")[2] for path in paths]
    if any(name == ".." or name.startswith("~") for name in names):
        return None
    return ["" if name == "." else name for name in names]


def _source(spot: Spot, args: Mapping[str, Any], report: Report) -> MachineEnd | LocalSource:
    if spot.machine:
        return MachineEnd(spot.machine, "tree", args, spot.user)

    def produce(sink: BinaryIO) -> dict[str, Any]:
        from machinectl_agent.files.tree.producer import produce_tree  # noqa: PLC0415 - see _destination

        return produce_tree(args, sink, Telling(report))

    return LocalSource(produce)


def _destination(spot: Spot, args: Mapping[str, Any], report: Report) -> MachineEnd | LocalSink:
    if spot.machine:
        return MachineEnd(spot.machine, "tree", args, spot.user)

    def consume(source: BinaryIO) -> dict[str, Any]:
        # not before the other end has begun: 20 ms in which that has work to do
        from machinectl_agent.files.tree.consumer import consume_tree  # noqa: PLC0415

        return consume_tree(args, source, Telling(report))

    return LocalSink(consume)


class Telling:
    """What an end here says goes where the machines' words go."""

    gone = False

    def __init__(self, report: Report) -> None:
        self._report = report

    def log(self, text: str) -> None:
        self.emit({"event": "log", "text": text})

    def emit(self, message: Mapping[str, Any]) -> None:
        self._report.event(message)


def _partial(store: Store, target: Spot, names: list[str] | None, become: Become) -> dict[str, Any]:
    """What a broken copy has left at the target."""
    args = {"op": "partial", "target": _text(target), "names": names}
    if not target.machine:
        from machinectl_agent.files.tree.partial import list_partial  # noqa: PLC0415 - with --resume only

        try:
            return dict(list_partial(args)["partial"])
        except Problem as problem:
            raise AgentFailed(
                problem.what, why=problem.why, hint=problem.hint, problem=problem.code
            ) from problem
        except OSError as error:
            raise AgentFailed("what is there already can't be read", why=str(error)) from error
    from machinectl.remote.connection import open_connection  # noqa: PLC0415 - with --resume only
    from machinectl.remote.streams import ask_files  # noqa: PLC0415

    machine = store.load(target.machine)
    with open_connection(
        machine.ssh, machine=machine.name, known_hosts=store.known_hosts, become=become
    ) as connection:
        # as long as the copy itself may take: all that is there is read, and heartbeats tell that its host lives
        return dict(ask_files(connection, args, user=target.user, deadline=WITHIN)["partial"])


def _text(target: Spot) -> str:
    return _wire(target.path) or "." if target.machine else _wire(_here(target.path))


def _here(path: str) -> str:
    """The shell has expanded `~` already; one that is left is a name."""
    return f"./{path}" if path.startswith("~") else path


def _wire(path: str) -> str:
    """Bytes as they are, whatever this computer's locale is: UTF-8 on the wire, with single surrogates."""
    return os.fsencode(path).decode("utf-8", "surrogateescape")
