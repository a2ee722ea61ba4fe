"""Asking the running daemon from the same machine."""

from __future__ import annotations

import socket
import time
from typing import Any, Dict, Mapping, Optional

from machinectl_agent import wire
from machinectl_agent.daemon.settings import SOCKET
from machinectl_agent.problems import Problem

_ANSWER = 1024 * 1024
"""Bytes; 200 events are 60 KB."""


def ask(
    verb: str, args: Optional[Mapping[str, Any]] = None, *, path: str = SOCKET, deadline: float = 5.0
) -> Dict[str, Any]:
    """The daemon's result. Raises its `Problem`, or `daemon-silent` where there is no sensible answer."""
    end = time.monotonic() + deadline
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
            one.settimeout(deadline)
            one.connect(path)
            text = _exchange(one, wire.encode(wire.request(verb, args or {})), end)
    except OSError as error:
        raise Problem(
            "daemon-silent", "the agent's daemon does not answer", why=f"{path}: {error}"
        ) from error
    return _result(text)


def _exchange(one: socket.socket, request: bytes, end: float) -> bytes:
    """What the daemon says. It may have closed before it read us, with the reason in what it sent."""
    text = b""
    try:
        one.sendall(request)
    except (BrokenPipeError, ConnectionResetError):
        pass
    while len(text) < _ANSWER:
        one.settimeout(max(end - time.monotonic(), 0.001))
        try:
            part = one.recv(65536)
        except ConnectionResetError:
            break
        if not part:
            break
        text += part
    return text


def _result(text: bytes) -> Dict[str, Any]:
    if not text:  # killed between our connect, which the kernel answers, and its accept
        raise Problem("daemon-silent", "the agent's daemon does not answer", why="it closed without a word")
    try:
        messages = [wire.decode(line) for line in text.splitlines()]
    except wire.WireError as error:
        raise Problem("daemon-silent", "the agent's daemon answers nonsense", why=str(error)) from error
    last = messages[-1] if messages else {}
    if last.get("event") == "error":
        raise Problem(str(last.get("problem")), str(last.get("what")), why=str(last.get("why", "")))
    if last.get("event") != "done" or not isinstance(last.get("result"), dict):
        raise Problem("daemon-silent", "the agent's daemon answers nonsense", why=str(last)[:200])
    return dict(last["result"])
