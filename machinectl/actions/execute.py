"""exec: one command on many machines, each one's output as it comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from machinectl.actions.fleet import PARALLEL, Outcome
from machinectl.actions.interruptible import on_each_until_interrupted
from machinectl.errors import MachinectlError, RemoteFailed
from machinectl.remote.attended import render_attended
from machinectl.remote.become import Become
from machinectl.remote.channel import SilenceError
from machinectl.remote.connection import CONNECT_DEADLINE, Connection, open_connection
from machinectl.store.store import Store

WINDOW = 1024 * 1024
"""Bytes that one host may send ahead: the bound of what is in memory where nobody reads our output."""

Sink = Callable[[str, str, bytes], None]
"""Machine, `stdout` or `stderr`, what came. Called from several threads, and at the end of a stream with nothing."""


@dataclass(frozen=True)
class Ran:
    """A command that has ended on a machine."""

    status: int
    """255: a signal ended it."""
    seconds: float


def execute(
    store: Store,
    names: Sequence[str],
    command: str,
    sink: Sink,
    *,
    become: Become,
    within: float,
    parallel: int = PARALLEL,
) -> list[Outcome[Ran]]:
    """Runs `command` by each machine's login shell; `become` none: as the user who logs in.

    `within`: seconds for each machine, connecting apart, which has 15 s. A command that is over its time, and
    all of them after Ctrl-C, are ended on their hosts.
    """
    running: set[Connection] = set()
    guard = threading.Lock()
    wrapped = render_attended(command)

    def one(name: str) -> Ran:
        began = time.monotonic()
        machine = store.load(name)  # here: a damaged record is its own machine's failure
        with open_connection(
            machine.ssh,
            machine=name,
            known_hosts=store.known_hosts,
            become=become,
            deadline=min(CONNECT_DEADLINE, within),
        ) as connection:
            with guard:
                running.add(connection)
            try:
                status = _pass_on(connection, wrapped, name, sink, within)
            finally:
                with guard:
                    running.discard(connection)
        return Ran(status, time.monotonic() - began)

    def stop() -> None:
        with guard:
            for connection in running:
                connection.close()

    return on_each_until_interrupted(names, one, stop=stop, parallel=parallel)


def _pass_on(connection: Connection, command: str, name: str, sink: Sink, within: float) -> int:
    try:
        with connection.start(command, window=WINDOW) as channel:
            return channel.pass_on(
                lambda part: sink(name, "stdout", part), lambda part: sink(name, "stderr", part), within
            )
    except SilenceError as error:
        raise RemoteFailed(
            "the command did not end in time",
            why=f"it was given {within:g} s, and has been ended on the host",
            hint="give it more with --timeout SECONDS",
            machine=name,
            problem="remote-timeout",
        ) from error
    finally:
        sink(name, "stdout", b"")
        sink(name, "stderr", b"")


def failures(outcomes: Sequence[Outcome[Ran]]) -> list[Outcome[Ran]]:
    """The same, a command's exit status other than 0 as that machine's error."""
    return [one if one.error else Outcome(one.name, one.result, _status_error(one)) for one in outcomes]


def _status_error(outcome: Outcome[Ran]) -> MachinectlError | None:
    if not outcome.result or not outcome.result.status:
        return None
    return RemoteFailed(f"exit status {outcome.result.status}", machine=outcome.name, problem="exit-status")
