"""One client of the daemon: a request, its answer, the end (wire.py). Any uid but root is sent away.

A verb of `Work` is answered as an agent of its own would: with events on the way, and without a limit of time."""

from __future__ import annotations

import socket
import struct
import time
from typing import Any, Callable, Dict, Mapping

from machinectl_agent import wire
from machinectl_agent.conversation import Session, told
from machinectl_agent.daemon.settings import Settings
from machinectl_agent.problems import Problem

Answer = Callable[[Mapping[str, Any]], Dict[str, Any]]
"""A verb's args → its result. Raises `Problem`."""


Work = Callable[[Session, Mapping[str, Any]], Dict[str, Any]]
"""The same with events before the result."""


def peer_uid(client: socket.socket) -> int:
    """The uid that connected, as the kernel noted it then: SO_PEERCRED, unix(7)."""
    credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


def converse(
    client: socket.socket,
    hello: wire.Message,
    answers: Mapping[str, Answer],
    work: Mapping[str, Work],
    settings: Settings,
) -> None:
    """Never raises for what a client does; `client` is closed at the end."""
    with client:
        try:
            client.settimeout(settings.patience)
            client.sendall(wire.encode(hello))
            _serve(client, answers, work, settings)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            return  # gone, or it does not read


def refuse(client: socket.socket, hello: wire.Message, problem: Problem) -> None:
    """Says why and closes, without ever waiting."""
    with client:
        try:
            client.setblocking(False)
            client.send(wire.encode(hello) + wire.encode(problem.to_message()))
        except OSError:
            return


def _serve(
    client: socket.socket, answers: Mapping[str, Answer], work: Mapping[str, Work], settings: Settings
) -> None:
    try:
        request = _request(client, settings)
    except Problem as problem:
        client.sendall(wire.encode(problem.to_message()))
        return
    verb, args = request.get("verb"), request.get("args", {})
    if isinstance(verb, str) and verb in work and isinstance(args, dict):
        with client.makefile("rb") as stdin, client.makefile("wb") as stdout:
            session = Session(stdin, stdout)
            session.beat()
            told(session, lambda: work[verb](session, args))
        return
    client.sendall(wire.encode(_outcome(verb, args, answers)))


def _outcome(verb: object, args: object, answers: Mapping[str, Answer]) -> wire.Message:
    answer = answers.get(verb) if isinstance(verb, str) else None
    if answer is None or not isinstance(args, dict):
        what = f"the agent's daemon knows no {str(verb)[:40]!r}"
        return wire.error("no-such-verb", what, f"it knows {', '.join(sorted(answers))}")
    try:
        return wire.done(answer(args))
    except Problem as problem:
        return problem.to_message()
    except Exception as error:  # a fault of ours must not end the thread without an answer
        return wire.error("agent-fault", f"a fault of the agent's own: {error!r}", hint="report this")


def _request(client: socket.socket, settings: Settings) -> wire.Message:
    line = _line(client, settings)
    try:
        request = wire.decode(line)
    except (wire.WireError, RecursionError) as error:
        raise Problem("wire", "the agent did not understand the request", why=str(error)[:300]) from error
    try:
        wire.check_version(request)
    except wire.WireError as error:
        raise Problem(
            "wire-version", str(error), hint="`machinectl agent upgrade NAME` brings this controller's agent"
        ) from error
    return request


def _line(client: socket.socket, settings: Settings) -> bytes:
    """One line, whole and in time: a client that sends a byte now and then is not waited for."""
    end = time.monotonic() + settings.patience
    line = bytearray()
    part = b""
    while b"\n" not in part:
        left = end - time.monotonic()
        if left <= 0:
            raise Problem("idle", f"no whole request came within {settings.patience:g} s")
        client.settimeout(left)
        try:
            part = client.recv(65536)
        except socket.timeout:  # noqa: UP041 - in Python 3.9 it is not yet TimeoutError
            continue
        finally:
            client.settimeout(settings.patience)
        if not part:
            raise Problem("wire", "the request ended in mid-line")
        line += part
        if len(line) > settings.line:
            raise Problem("wire", f"a request of more than {settings.line} bytes")
    return bytes(line.partition(b"\n")[0])
