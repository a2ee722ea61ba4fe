"""One conversation with the agent: a request, its events, its result (machinectl_agent.wire)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from machinectl.errors import AgentFailed, ConnectionFailed, MachinectlError, RemoteFailed
from machinectl.remote import bootstrap
from machinectl.remote.bundle import Bundle
from machinectl.remote.channel import Channel, SilenceError
from machinectl.remote.connection import Connection
from machinectl.remote.deadline import Deadline
from machinectl_agent import wire

IDLE_LIMIT = 45.0
"""Seconds without a line; the agent says `{"event":"alive"}` every 10 s while it works."""

OnEvent = Callable[[Mapping[str, Any]], None]
Need = Callable[[list[dict[str, Any]]], None]


def run_agent(
    connection: Connection,
    bundle: Bundle,
    request: wire.Message,
    *,
    on_event: OnEvent,
    need: Need | None = None,
    deadline: float,
    idle_deadline: float = IDLE_LIMIT,
    root: str = bootstrap.ROOT,
    search: str = bootstrap.SEARCH,
) -> dict[str, Any]:
    """The `result` of the agent's `done`. Deadlines are seconds.

    `on_event` gets every event but `alive`, `need`, `done` and `error`, as it comes. `need` is called with
    the files that the agent asks for and returns when they are on the host (`Connection.upload`).
    Raises `AgentFailed` with the agent's own problem code, or `agent-failed` when it misbehaves, and
    `ConnectionFailed` or `BecomeFailed` when it is not the agent's fault.
    """
    clock = Deadline(deadline)
    channel = bootstrap.start_agent(
        connection, bundle, request, on_event=on_event, deadline=clock, root=root, search=search
    )
    with channel:
        try:
            return _converse(channel, bundle, on_event, need, clock, idle_deadline)
        except MachinectlError as error:
            error.machine = error.machine or connection.machine
            raise


def _converse(
    channel: Channel,
    bundle: Bundle,
    on_event: OnEvent,
    need: Need | None,
    clock: Deadline,
    idle: float,
) -> dict[str, Any]:
    greeted = False
    while True:
        message = _next(channel, clock, idle)
        event = message.get("event")
        if event == "hello":
            _check_hello(message, bundle)
            greeted = True
            on_event(message)
        elif event == "error":
            raise _reported(message)
        elif not greeted:
            raise AgentFailed("the agent did not say hello", why=f"it said {str(message)[:200]}")
        elif event == "done":
            return _result(message)
        elif event == "need":
            _provide(channel, message, need, clock)
        elif event == "alive":
            continue
        elif isinstance(event, str):
            on_event(message)
        else:
            raise AgentFailed("the agent sent a message without an event", why=str(message)[:200])


def _next(channel: Channel, clock: Deadline, idle: float) -> wire.Message:
    try:
        line = channel.read_line(min(idle, clock.left()), wire.MAX_LINE)
    except SilenceError as error:
        if clock.expired:
            why = f"it was given {clock.seconds:g} s"
            raise AgentFailed("the agent did not finish in time", why=why, problem="agent-timeout") from error
        raise AgentFailed(
            "the agent fell silent",
            why=f"nothing came for {idle:g} s; {_stderr(channel)}",
            hint="run the command again: it goes on where it stopped",
            problem="agent-silent",
        ) from error
    except ConnectionFailed:
        raise
    except RemoteFailed as error:
        raise AgentFailed("the agent sent a line without end", why=error.why) from error
    if not line:
        status = channel.wait(5.0)
        raise AgentFailed(
            "the agent ended without an answer",
            why=f"exit status {status}; {_stderr(channel)}",
            hint="run the command again: it goes on where it stopped",
        )
    try:
        return wire.decode(line)
    except (wire.WireError, RecursionError) as error:  # the latter: json and a line of brackets
        raise AgentFailed("the agent sent something that is no message", why=str(error)) from error


def _check_hello(message: wire.Message, bundle: Bundle) -> None:
    try:
        wire.check_version(message)
    except wire.WireError as error:
        raise AgentFailed(
            "the agent is of another version than this controller",
            why=str(error),
            hint="use the same version of machinectl everywhere",
            problem="wire-mismatch",
        ) from error
    theirs = message.get("bundle")
    if theirs and theirs != bundle.hash:
        raise AgentFailed(
            "another agent answers than the one that was started",
            why=f"it runs from bundle {theirs}, not {bundle.hash}",
        )


def _reported(message: wire.Message) -> AgentFailed:
    def text(key: str) -> str:
        value = message.get(key, "")
        return value if isinstance(value, str) else str(value)

    return AgentFailed(
        text("what") or "the agent failed without saying what",
        why=text("why"),
        hint=text("hint"),
        problem=text("problem") or "agent-failed",
    )


def _result(message: wire.Message) -> dict[str, Any]:
    result = message.get("result")
    if not isinstance(result, dict):
        raise AgentFailed("the agent's result is no object", why=str(result)[:200])
    return result


def _provide(channel: Channel, message: wire.Message, need: Need | None, clock: Deadline) -> None:
    files = message.get("files")
    if need is None or not isinstance(files, list) or not all(isinstance(one, dict) for one in files):
        raise AgentFailed("the agent asks for files that nobody offered", why=str(files)[:200])
    need(files)
    channel.write(wire.encode({"reply": "need"}), clock.left())


def _stderr(channel: Channel) -> str:
    tail = channel.stderr_tail()[-500:]
    return f"its last words: {tail}" if tail else "it said nothing on stderr"
