"""Joins stdin and stdout with the daemon's socket, so that SSH reaches it without a port of its own."""

from __future__ import annotations

import os
import select
import socket

from machinectl_agent import wire
from machinectl_agent.daemon.settings import NETWORK_SOCKET, SOCKET

_PIECE = 64 * 1024


def dial_stdio(path: str = SOCKET, stdin: int = 0, stdout: int = 1) -> int:
    """Until the daemon closes. Exit status 0, or 1 with an `error` event where no daemon listens."""
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with one:
        try:
            one.settimeout(10.0)
            one.connect(path)
            one.settimeout(None)
        except OSError as error:
            _write(stdout, wire.encode(_absent(path, error)))
            return 1
        _join(one, stdin, stdout)
    return 0


def _absent(path: str, error: OSError) -> wire.Message:
    why = f"{path}: {error.strerror or error}"
    if path == NETWORK_SOCKET:
        what = "the network service does not run on this host"
        hint = "`machinectl network join NAME`; `journalctl -u machinectl-network` there says why it ended"
        return wire.error("network-not-running", what, why, hint)
    what = "the agent's daemon does not run on this host"
    hint = "`machinectl agent upgrade NAME` starts it, `machinectl agent logs NAME` says why it ended"
    return wire.error("daemon-not-running", what, why, hint)


def _join(one: socket.socket, stdin: int, stdout: int) -> None:
    poll = select.poll()
    poll.register(one, select.POLLIN)
    poll.register(stdin, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            try:
                if descriptor == stdin:
                    part = os.read(stdin, _PIECE)
                    if part:
                        one.sendall(part)
                    else:
                        poll.unregister(stdin)
                        one.shutdown(socket.SHUT_WR)
                else:
                    part = one.recv(_PIECE)
                    if not part:
                        return
                    _write(stdout, part)
            except (BrokenPipeError, ConnectionResetError):
                if descriptor == stdin:  # the daemon reads no more, but may have said why
                    poll.unregister(stdin)
                    continue
                return


def _write(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
