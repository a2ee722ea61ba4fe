"""One end of a carry on a machine: the agent's verb `carry` (agent: files/carry.py), its events, its stream."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from machinectl.errors import AgentFailed, ConnectionFailed, MachinectlError, RemoteFailed
from machinectl.model import SshAddress
from machinectl.remote import bootstrap
from machinectl.remote.agent_client import IDLE_LIMIT, run_agent
from machinectl.remote.become import Become
from machinectl.remote.bundle import build_bundle
from machinectl.remote.channel import Channel, InputClosed, SilenceError
from machinectl.remote.connection import CONNECT_DEADLINE, Connection, open_connection
from machinectl.remote.deadline import Deadline
from machinectl.remote.native import NativeChannel, native_connection
from machinectl.remote.sshconfig import Settings
from machinectl_agent import wire
from machinectl_agent.files.framing import broken

OnEvent = Callable[[Mapping[str, Any]], None]
Done = TypeVar("Done")

WINDOW = 16 * 1024 * 1024
"""Bytes that a host may send ahead, kept in memory twice at worst: 2.5 Gbit/s over 50 ms."""

ANSWER = 60.0
"""Seconds for an agent that runs to say what it is asked for."""

_NOT_OURS = ("install-failed", "python-install-failed", "bootstrap-failed")
"""What the agent's start says where only root can put the agent there."""


class AgentStream:
    """A transport of framing.py, and a conversation. One thread at a time."""

    def __init__(
        self, channel: Channel | NativeChannel, machine: str, on_event: OnEvent, clock: Deadline
    ) -> None:
        self._channel = channel
        self._on_event = on_event
        self._clock = clock
        self._partial = b""
        self._events: deque[dict[str, Any]] = deque()
        self._junk: deque[str] = deque(maxlen=5)
        self._read = memoryview(b"")
        self._result: dict[str, Any] | None = None
        self._failure: MachinectlError | None = None
        self.machine = machine
        channel.divert_stderr(self._take)

    def expect(self, event: str, seconds: float = ANSWER) -> dict[str, Any]:
        """The next event of that kind. Raises what the agent reports instead, and `agent-silent` when it does not
        come; that the agent is alive is no answer."""
        deadline = Deadline(min(seconds, self._clock.left()))
        while True:
            while self._events:
                message = self._events.popleft()
                if message.get("event") == event:
                    return message
            self._check()
            if deadline.expired:
                raise self._silent(f"it has not said {event!r} for {deadline.seconds:g} s")
            if not self._receive(deadline):
                raise self._ended()

    def order(self, message: Mapping[str, Any]) -> None:
        """What the agent is to do next."""
        try:
            self._channel.write(wire.encode(message), self._clock.left())
        except InputClosed:
            self.result()  # it has said why
            raise

    def receive_into(self, view: memoryview) -> int:
        """0 at the end of stdout."""
        while not self._read:
            content = self._channel.take_stdout()
            if content:
                self._read = memoryview(content)
            elif not self._receive():
                return 0
        size = min(len(view), len(self._read))
        view[:size] = self._read[:size]
        self._read = self._read[size:]
        return size

    def read_some(self) -> bytes:
        """stdout as it comes; empty at its end."""
        while not (content := self._channel.take_stdout()):
            if not self._receive():
                return self._channel.take_stdout()
        self._channel.take_in()
        return content

    def send(self, view: memoryview) -> None:
        try:
            self._channel.write(view, self._clock.left())
        except InputClosed as error:
            raise broken("the agent reads no more") from error
        self._channel.take_in()

    def close_input(self) -> None:
        """Nothing more comes from us."""
        self._channel.close_input()

    def result(self) -> dict[str, Any]:
        """The end's own result, when it has one. Raises what it reports instead, or why it can't."""
        while self._result is None:
            self._check()
            if not self._receive():
                self._check()
                raise self._ended()
            self._channel.take_stdout()
        return self._result

    def carried(self) -> dict[str, Any]:
        """As `result`, of a producer that waits for what to do afterwards."""
        while True:
            while self._events:
                message = self._events.popleft()
                if message.get("event") == "carried":
                    return dict(message["result"])
            self._check()
            if not self._receive():
                self._check()
                raise self._ended()
            self._channel.take_stdout()

    def failure(self, seconds: float) -> MachinectlError | None:
        """What went wrong at this end, given a moment to say so; None: nothing."""
        self._clock = Deadline(seconds)
        try:
            self.result()
        except MachinectlError as error:
            return error
        return None

    def end(self) -> None:
        """From any thread: the agent ends, and whoever waits for it gets an error."""
        self._channel.end()

    def close(self) -> None:
        self._channel.close()

    def _receive(self, until: Deadline | None = None) -> bool:
        """False at the end of both streams. Nothing at all for a while is an error, but not before `until`."""
        wait = min(IDLE_LIMIT, self._clock.left(), until.left() if until else IDLE_LIMIT)
        try:
            more = self._channel.receive(wait)
            self._channel.take_in()
            return more
        except SilenceError as error:
            if self._clock.expired:
                raise AgentFailed(
                    "the copy did not end in time",
                    why=f"it was given {self._clock.seconds:g} s",
                    machine=self.machine,
                    problem="agent-timeout",
                ) from error
            if until and until.expired:
                return True  # whoever gave it says why
            raise self._silent(f"nothing came for {wait:g} s") from error

    def _silent(self, why: str) -> AgentFailed:
        return AgentFailed(
            "the agent fell silent",
            why=why,
            hint="is the host overloaded? `machinectl ssh` shows it; then run the command again",
            machine=self.machine,
            problem="agent-silent",
        )

    def _take(self, content: bytes) -> None:
        lines = (self._partial + content).split(b"\n")
        self._partial = lines.pop()[-wire.MAX_LINE :]
        for line in filter(None, lines):
            try:
                message = wire.decode(line)
            except (wire.WireError, RecursionError):
                self._junk.append(line.decode(errors="replace")[:300])
                continue
            self._dispatch(message)

    def _dispatch(self, message: dict[str, Any]) -> None:
        event = message.get("event")
        if event == "done":
            result = message.get("result")
            self._result = result if isinstance(result, dict) else {}
        elif event == "error":
            texts = {key: str(message.get(key, "")) for key in ("what", "why", "hint", "problem")}
            self._failure = AgentFailed(**texts, machine=self.machine)
        elif event in ("hello", "ready", "dialled", "carried"):
            self._events.append(message)
        elif event != "alive":
            self._on_event(message)

    def _check(self) -> None:
        if self._failure:
            raise self._failure

    def _ended(self) -> MachinectlError:
        try:
            status = self._channel.wait(5.0)
        except (ConnectionFailed, RemoteFailed) as error:
            error.machine = self.machine
            return error
        said = " / ".join(self._junk)
        return AgentFailed(
            "the agent ended without an answer",
            why=f"exit status {status}" + (f"; its last words: {said}" if said else ""),
            machine=self.machine,
        )


@contextlib.contextmanager
def open_stream(
    address: SshAddress,
    args: Mapping[str, Any],
    *,
    machine: str,
    known_hosts: Path,
    become: Become,
    user: str,
    on_event: OnEvent,
    within: float,
) -> Iterator[tuple[AgentStream, Settings]]:
    """The agent's end, ready for orders (its `ready` is the next event). `user` as in `ask_files`."""
    bundle = build_bundle()
    clock = Deadline(within)

    def start(by: Any, who: str) -> AgentStream:
        request = wire.request("carry", {**args, "user": who})
        channel = bootstrap.start_agent(by, bundle, request, on_event=on_event, deadline=clock)
        stream = AgentStream(channel, machine, on_event, clock)
        try:
            stream.expect("hello")
        except BaseException:
            stream.close()
            raise
        return stream

    began = time.monotonic()
    native = native_connection(address, machine=machine, known_hosts=known_hosts, become=become)
    if native:
        try:
            stream = _as_user(native, user, start)
        except MachinectlError as error:
            # no agent or passphrase for ssh, a host key that is not pinned yet, …: ours says what is wrong, if it is
            if not isinstance(error, ConnectionFailed) and error.problem != "bootstrap-failed":
                raise
        else:
            with contextlib.closing(stream):
                yield stream, native.settings
            return
    left = max(CONNECT_DEADLINE - (time.monotonic() - began), 5.0)
    with open_connection(
        address, machine=machine, known_hosts=known_hosts, become=become, deadline=left
    ) as connection:
        connection.window = WINDOW
        with contextlib.closing(_as_user(connection, user, start)) as stream:
            yield stream, connection.settings


def ask_files(
    connection: Connection,
    args: Mapping[str, Any],
    *,
    user: str,
    deadline: float,
    on_event: OnEvent = lambda _: None,
) -> dict[str, Any]:
    """The result of one of the agent's files/ops.py."""
    bundle = build_bundle()

    def ask(by: Connection, who: str) -> dict[str, Any]:
        request = wire.request("files", {**args, "user": who})
        return run_agent(by, bundle, request, on_event=on_event, deadline=deadline)

    return _as_user(connection, user, ask)


def _as_user(connection: Any, user: str, work: Callable[[Any, str], Done]) -> Done:
    """`user`: whose files; empty: those of the user who logs in, who needs no root for it where the agent is there
    already."""
    if user:
        return work(connection, user)
    try:
        return work(connection.unprivileged(), "")
    except AgentFailed as error:
        if error.problem not in _NOT_OURS:
            raise
        return work(connection, connection.settings.user)
