"""A stream from one end to another: this computer or a machine, each; between machines directly where they reach each
other.

    local → machine, machine → local    over SSH
    machine → machine                   agent to agent, by a connection that only these two can make, once (TLS 1.3,
                                        pki/one_time.py); else through this computer, which says so
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeVar, cast

from machinectl.actions.report import Report
from machinectl.errors import AgentFailed, ConnectionFailed, MachinectlError
from machinectl_agent.files.framing import Sink, Source
from machinectl_agent.problems import Problem

if TYPE_CHECKING:
    from machinectl.remote.become import Become
    from machinectl.remote.streams import AgentStream
    from machinectl.store.store import Store

WITHIN = 86400.0
"""Seconds for a whole carry, unless the caller says otherwise. A host that falls silent is noticed in 45."""

DIAL = (5.0, 3.0)
"""Seconds for the source to reach the destination, and after that for the way back."""

GRACE = 10.0
"""Seconds for the other end to clean up and say so, once one end has failed."""

_CONSEQUENCES = ("stream-broken", "controller-gone")
"""Problems that an end has because the other one has one."""

Done = TypeVar("Done")

Way = Literal["direct", "relay", "ssh"]
Progress = Callable[[int], None]
Produce = Callable[[BinaryIO], dict[str, Any]]
Consume = Callable[[BinaryIO], dict[str, Any]]
Afterwards = Callable[[dict[str, Any], dict[str, Any]], Mapping[str, Any]]
"""Of what the source and the destination said: what the source's machine is to do now (the agent's files/ends.py)."""


@dataclass(frozen=True)
class MachineEnd:
    """An end on a machine. `kind` and `args` as in the agent's files/ends.py; `user`: whose permissions, empty: the
    user's who logs in."""

    machine: str
    kind: str
    args: Mapping[str, Any] = field(default_factory=dict)
    user: str = "root"


@dataclass(frozen=True)
class LocalSource:
    """Writes the stream; gives a result as the agent's producers do."""

    produce: Produce


@dataclass(frozen=True)
class LocalSink:
    """Reads the stream up to its end, which comes only when all of it was written."""

    consume: Consume


@dataclass(frozen=True)
class Carried:
    """What went over, and what both ends said."""

    bytes: int
    seconds: float
    way: Way
    source: dict[str, Any]
    destination: dict[str, Any]
    afterwards: dict[str, Any] | None = None
    """What the source's machine did when it was told to do more; None: it was not, or did not say how it ended."""


def carry(
    store: Store,
    source: MachineEnd | LocalSource,
    destination: MachineEnd | LocalSink,
    *,
    become: Become,
    progress: Progress | None = None,
    report: Report | None = None,
    direct: bool = True,
    limit_rate: int = 0,
    compress: bool = False,
    within: float = WITHIN,
    afterwards: Afterwards | None = None,
) -> Carried:
    """Raises `MachinectlError` with the name of the machine whose end failed; the other end has cleaned up then.

    `progress` gets the bytes so far, often; `report` what the ends say. `direct` False: by this computer, always.
    `limit_rate`: bytes per second, 0: as fast as it goes. `afterwards`: is asked when the destination has all of it,
    where the machines reach each other.
    """
    between = isinstance(source, MachineEnd) and isinstance(destination, MachineEnd)
    told = progress or (lambda _: None)
    work = _Work(store, become, told, report, limit_rate, compress, within, between)
    began = time.monotonic()
    way: Way = "ssh"
    if isinstance(source, MachineEnd) and isinstance(destination, MachineEnd):
        return _between(work, source, destination, direct=direct, afterwards=afterwards)
    if isinstance(source, MachineEnd) and isinstance(destination, LocalSink):
        size, theirs, ours = _fetch(work, source, destination)
    elif isinstance(source, LocalSource) and isinstance(destination, MachineEnd):
        size, theirs, ours = _deliver(work, source, destination)
    else:
        raise TypeError("one end of a carry is on a machine")
    return Carried(size, time.monotonic() - began, way, theirs, ours)


@dataclass(frozen=True)
class _Work:
    store: Store
    become: Become
    progress: Progress
    report: Report | None
    limit_rate: int
    compress: bool
    within: float
    between: bool
    """Both ends are on machines."""

    @contextlib.contextmanager
    def open(
        self, end: MachineEnd, role: str, credential: Mapping[str, str] | None = None
    ) -> Iterator[_Open]:
        """Connects and starts the agent's end."""
        from machinectl.remote.streams import open_stream  # noqa: PLC0415 - nothing heavy before it is wanted

        machine = self.store.load(end.machine)
        args: dict[str, Any] = {"role": role, "kind": end.kind, "args": dict(end.args)}
        if role == "produce":
            args.update(limit_rate=self.limit_rate, compress=self.compress)
        if credential:
            args["credential"] = dict(credential)
        with open_stream(
            machine.ssh,
            args,
            machine=end.machine,
            known_hosts=self.store.known_hosts,
            become=self.become,
            user=end.user,
            on_event=self._event,
            within=self.within,
        ) as (stream, settings):
            ready = stream.expect("ready")
            hosts = dict.fromkeys((machine.ip, settings.host, *ready["addresses"]))
            yield _Open(stream, [(str(host), int(ready["port"])) for host in hosts if ready["port"]])

    def _event(self, message: Mapping[str, Any]) -> None:
        if message.get("event") == "progress":
            if self.between:  # else this computer's own end counts, and is not behind
                self.progress(int(message["bytes"]))
        elif self.report:
            self.report.event(message)


@dataclass(frozen=True)
class _Open:
    """An end whose agent waits for orders, and where it listens."""

    stream: AgentStream
    targets: list[tuple[str, int]]


def _deliver(work: _Work, source: LocalSource, end: MachineEnd) -> tuple[int, dict[str, Any], dict[str, Any]]:
    with work.open(end, "consume") as opened:
        stream = opened.stream
        stream.order({"reply": "start", "way": "stdio"})
        sink = Sink(stream, compress=work.compress, limit_rate=work.limit_rate, progress=work.progress)
        try:
            ours = source.produce(cast(BinaryIO, sink))
            sink.finish()
        except Exception as error:
            with contextlib.suppress(Problem, MachinectlError):
                sink.abandon()
            with contextlib.suppress(MachinectlError):
                stream.close_input()
            raise _reason([_local(error), stream.failure(GRACE)]) from error
        return sink.bytes, ours, _own(stream.result())


def _fetch(work: _Work, end: MachineEnd, sink: LocalSink) -> tuple[int, dict[str, Any], dict[str, Any]]:
    with work.open(end, "produce") as opened:
        stream = opened.stream
        stream.order({"reply": "start", "way": "stdio"})
        source = Source(stream, progress=work.progress)
        try:
            ours = sink.consume(cast(BinaryIO, source))
            source.drain()
        except Exception as error:
            ended = isinstance(error, Problem) and error.code in _CONSEQUENCES
            raise _reason([_local(error), stream.failure(GRACE) if ended else None]) from error
        return source.bytes, _own(stream.result()), ours


def _between(
    work: _Work, source: MachineEnd, destination: MachineEnd, *, direct: bool, afterwards: Afterwards | None
) -> Carried:
    began = time.monotonic()
    credentials: tuple[Any, Any] = (None, None)
    if direct:
        from machinectl.pki.one_time import make_pair  # noqa: PLC0415 - cryptography, only here

        credentials = (one.to_json() for one in make_pair())  # type: ignore[assignment]
    with contextlib.ExitStack() as stack:
        first, second = _open_both(work, stack, (source, "produce"), (destination, "consume"), credentials)
        reached = direct and _meet(work, first, second, more=afterwards is not None)
        way: Way = "direct" if reached else "relay"
        wanted = afterwards if reached else None
        results = _wait_both(first, second, more=wanted is not None) if reached else _relay(first, second)
        size, theirs, ours = int(results[1].get("carried", 0)), _own(results[0]), _own(results[1])
        done = Carried(size, time.monotonic() - began, way, theirs, ours)
        return replace(done, afterwards=_tell(first.stream, wanted(theirs, ours))) if wanted else done


def _open_both(
    work: _Work,
    stack: contextlib.ExitStack,
    source: tuple[MachineEnd, str],
    destination: tuple[MachineEnd, str],
    credentials: tuple[Any, Any],
) -> list[_Open]:
    """Both at the same time."""
    ends = (source, destination)
    managers = [work.open(*end, credential) for end, credential in zip(ends, credentials, strict=True)]
    futures = [_begin(one.__enter__) for one in managers]
    wait(futures)
    for manager, future in zip(managers, futures, strict=True):
        if not future.exception():
            stack.push(manager.__exit__)
    return [future.result() for future in futures]


def _begin(work: Callable[[], Done]) -> Future[Done]:
    """In a thread that the interpreter's end does not wait for, as it would for an executor's: Ctrl-C counts."""
    future: Future[Done] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def _meet(work: _Work, source: _Open, destination: _Open, *, more: bool) -> bool:
    """Whether one machine reaches the other, one way or the other; both are told what to do then. `more`: the source
    will be told to do something afterwards."""
    reasons = []
    for dialler, listener, within in ((source, destination, DIAL[0]), (destination, source, DIAL[1])):
        if not listener.targets:
            reasons.append(f"{listener.stream.machine} can't listen")
            continue
        dialler.stream.order({"reply": "dial", "targets": listener.targets, "within": within})
        answer = dialler.stream.expect("dialled")
        if answer["ok"]:
            for one, how in ((dialler, "dialled"), (listener, "accepted")):
                one.stream.order({"reply": "start", "way": how, "afterwards": more and one is source})
            return True
        reasons.append(f"{dialler.stream.machine} → {listener.stream.machine}: {answer['why']}")
    if work.report:
        names = f"{source.stream.machine} and {destination.stream.machine}"
        work.report.line(f"{names} do not reach each other: all goes through this computer")
        for reason in reasons:
            work.report.line(f"  {reason}")
    return False


def _wait_both(source: _Open, destination: _Open, *, more: bool) -> list[dict[str, Any]]:
    """Until both ends are done. Closing the connections ends the agents, whatever they are at. `more`: the source
    waits for an order then."""
    streams = (source.stream, destination.stream)
    futures = [
        _begin(source.stream.carried if more else source.stream.result),
        _begin(destination.stream.result),
    ]
    whole = False
    try:
        wait(futures, return_when=FIRST_EXCEPTION)
        wait(futures, timeout=GRACE)
        found = [future.exception() if future.done() else None for future in futures]
        if any(found):
            raise _reason(found)
        results = [future.result(0) for future in futures]
        whole = True
        return results
    finally:
        for stream in streams:
            if not (whole and more and stream is source.stream):
                stream.end()
        wait(futures, timeout=5)  # nobody reads from them when they are closed


def _tell(stream: AgentStream, args: Mapping[str, Any]) -> dict[str, Any] | None:
    """None where it did not say how it ended: it may be done or not."""
    try:
        stream.order({"reply": "afterwards", "args": dict(args)})
        return dict(stream.result()["afterwards"])
    except ConnectionFailed:
        return None
    except AgentFailed as error:
        if error.problem in ("agent-silent", AgentFailed.problem):
            return None
        raise


def _relay(source: _Open, destination: _Open) -> list[dict[str, Any]]:
    """Both directions' windows bound what is in memory here."""
    reader, writer = source.stream, destination.stream
    for stream in (reader, writer):
        stream.order({"reply": "start", "way": "stdio"})
    try:
        while part := reader.read_some():
            writer.send(memoryview(part))
        writer.close_input()
        return [reader.result(), writer.result()]
    except (MachinectlError, Problem) as error:
        with contextlib.suppress(MachinectlError):
            writer.close_input()
        found = [_local(error), writer.failure(GRACE)]
        ended = all(one is None or getattr(one, "problem", "") in _CONSEQUENCES for one in found)
        raise _reason([*found, reader.failure(GRACE) if ended else None]) from error


def _reason(found: list[Any]) -> BaseException:
    """Of several errors the one that the others come from."""
    errors = [one for one in found if one is not None]
    first = [one for one in errors if getattr(one, "problem", "") not in _CONSEQUENCES]
    chosen: BaseException = (first or errors)[0]
    return chosen


def _local(error: Exception) -> Exception:
    """An error of this computer's end, as all of ours look."""
    if isinstance(error, Problem):
        return AgentFailed(error.what, why=error.why, hint=error.hint, problem=error.code)
    if isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename else ""
        return MachinectlError(f"{name}{error.strerror or error}")
    return error


def _own(result: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key != "carried"}
