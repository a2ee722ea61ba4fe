"""The one TCP connection under an SSH connection, and a ProxyCommand in its place.

paramiko leaves Nagle's algorithm on, which costs 40 ms per command: the socket is our own, with TCP_NODELAY.
A host that dies without a word is noticed by the kernel: keepalives when idle (10 s + 3 × 5 s), and
TCP_USER_TIMEOUT (tcp(7), RFC 5482) when something sent is not acknowledged for 20 s.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import subprocess
import tempfile
import threading
import time
from typing import IO, Any

from machinectl.errors import ConnectionFailed
from machinectl.remote.deadline import Deadline

STAGGER = 0.25
"""Seconds until the next address is tried beside the ones that have not answered (RFC 8305, section 5)."""

_OPTIONS: tuple[tuple[int, str, int], ...] = (
    (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 10),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 5),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 20_000),
)

_REASONS = {
    errno.ECONNREFUSED: (
        "the connection was refused",
        "is sshd running, and on this port? --ssh-port says which",
    ),
    errno.EHOSTUNREACH: ("the host can't be reached", "is it switched on, and is the address right?"),
    errno.ENETUNREACH: ("there is no route to its network", "check this machine's network and the address"),
    errno.ETIMEDOUT: ("it does not answer", "is it switched on, and does a firewall drop SSH?"),
}


_QUICKACK = getattr(socket, "TCP_QUICKACK", None)


class QuickSocket(socket.socket):
    """A socket that acknowledges at once (tcp(7), TCP_QUICKACK, which does not last by itself).

    sshd leaves Nagle's algorithm on for sessions without a terminal: a second small packet of its own waits
    for our acknowledgement, which the kernel would delay by 40 ms. Seen at the first command of a session.
    """

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        content = super().recv(size, flags)
        if _QUICKACK is not None:
            with contextlib.suppress(OSError):  # the peer may be gone; the next call says so
                self.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        return content


def connect_tcp(host: str, port: int, deadline: Deadline) -> QuickSocket:
    """A connected socket to the first address of `host` that answers. Raises `ConnectionFailed`."""
    addresses = resolve_name(host, port, deadline)
    pending = list(addresses)
    failures: dict[Any, int] = {}  # by socket address
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as losers:
        next_start = 0.0
        while not deadline.expired:
            if pending and (time.monotonic() >= next_start or not selector.get_map()):
                family, target = pending.pop(0)
                next_start = time.monotonic() + STAGGER
                one = losers.enter_context(socket.socket(family, socket.SOCK_STREAM))
                one.setblocking(False)
                status = one.connect_ex(target)
                if status in (0, errno.EINPROGRESS):
                    selector.register(one, selectors.EVENT_WRITE, target)
                else:
                    failures[target] = status
                continue
            if not selector.get_map():
                break
            wait = (
                min(deadline.left(), max(next_start - time.monotonic(), 0.0)) if pending else deadline.left()
            )
            for key, _ in selector.select(wait):
                winner = key.fileobj
                assert isinstance(winner, socket.socket)
                status = winner.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                selector.unregister(winner)
                if status:
                    failures[key.data] = status
                    winner.close()
                    continue
                return _tuned(QuickSocket(fileno=winner.detach()))
    raise _unreachable(host, port, [target for _, target in addresses], failures, deadline)


def resolve_name(host: str, port: int, deadline: Deadline) -> list[tuple[int, Any]]:
    """(family, sockaddr) of every address. getaddrinfo knows no timeout, hence the thread."""
    answer: list[Any] = []

    def ask() -> None:
        try:
            answer.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            answer.append(error)
        except UnicodeError as error:
            answer.append(OSError(f"not a host name: {error}"))

    thread = threading.Thread(target=ask, name=f"resolve {host}", daemon=True)
    thread.start()
    thread.join(deadline.left())
    if not answer:
        raise ConnectionFailed(
            f"the name {host} was not resolved in {deadline.seconds:g} s",
            why="the name servers don't answer",
            hint="use an IP address, or check /etc/resolv.conf",
        )
    if isinstance(answer[0], OSError):
        raise ConnectionFailed(
            f"there is no address for the name {host}",
            why=str(answer[0].strerror or answer[0]),
            hint="check the spelling, or use an IP address",
        )
    found = dict.fromkeys((int(family), target) for family, _, _, _, target in answer[0])
    return list(found)


def _tuned(connection: QuickSocket) -> QuickSocket:
    connection.setblocking(True)
    for level, name, value in _OPTIONS:
        option = getattr(socket, name, None)  # TCP_USER_TIMEOUT and TCP_KEEPIDLE are not everywhere
        if option is not None:
            connection.setsockopt(level, option, value)
    return connection


def _unreachable(
    host: str, port: int, tried: list[Any], failures: dict[Any, int], deadline: Deadline
) -> ConnectionFailed:
    silent = [one for one in tried if one not in failures]
    status = next(iter(failures.values()), errno.ETIMEDOUT) if not silent else errno.ETIMEDOUT
    reason, hint = _REASONS.get(status, (os.strerror(status), ""))
    parts = [f"{one[0]}: {os.strerror(code).lower()}" for one, code in failures.items()]
    parts += [f"{one[0]}: no answer in {deadline.seconds:g} s" for one in silent]
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return ConnectionFailed(f"no SSH connection to {place}: {reason}", why="; ".join(parts), hint=hint)


class ProxyProcess:
    """A running ProxyCommand; `socket` is our end of its stdin and stdout.

    A socket pair instead of paramiko's pipes, which spin on end of file and wait byte by byte.
    """

    def __init__(self, command: str) -> None:
        self.command = command
        self.socket, theirs = socket.socketpair()
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        try:
            # `exec` as ssh_config(5) says, so that no shell lingers
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {command}"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=self._stderr,
                start_new_session=True,  # Ctrl-C is ours to handle
            )
        finally:
            theirs.close()

    def stderr_tail(self) -> str:
        self._stderr.seek(0)
        return self._stderr.read()[-500:].decode(errors="replace").strip()

    def close(self) -> None:
        self.socket.close()
        self._process.terminate()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stderr.close()
