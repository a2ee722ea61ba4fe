"""A shell or a command on a machine where this computer has no ssh client: docker-machine's native mode."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from typing import Any

from machinectl.remote.connection import Connection

_READ = 64 * 1024


def run_shell(connection: Connection, command: str) -> int:
    """Connects this process's three streams to `command`, or to a login shell where it is empty.

    Gives the exit status. A terminal is asked for on the host only for a shell on a terminal, as ssh(1) does.
    """
    channel = connection.fabric.transport.open_session(window_size=2 * 1024 * 1024)
    interactive = not command and sys.stdin.isatty()
    if interactive:
        size = shutil.get_terminal_size()
        channel.get_pty(os.environ.get("TERM", "vt100"), size.columns, size.lines)
    if command:
        channel.exec_command(command)
    else:
        channel.invoke_shell()
    with _raw_terminal(channel) if interactive else contextlib.nullcontext():
        _pass_on(channel)
    return int(channel.recv_exit_status()) & 0xFF


def _pass_on(channel: Any) -> None:
    sources: list[int] = [channel.fileno(), sys.stdin.fileno()]
    while True:
        if channel.recv_ready():
            _write(sys.stdout.fileno(), channel.recv(_READ))
        elif channel.recv_stderr_ready():
            _write(sys.stderr.fileno(), channel.recv_stderr(_READ))
        elif channel.eof_received or channel.closed:
            return
        else:
            ready, _, _ = select.select(sources, [], [])
            if sys.stdin.fileno() in ready:
                content = os.read(sys.stdin.fileno(), _READ)
                if content:
                    channel.sendall(content)
                else:
                    sources.remove(sys.stdin.fileno())
                    channel.shutdown_write()


def _write(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


@contextlib.contextmanager
def _raw_terminal(channel: Any) -> Iterator[None]:
    def resized(*_: object) -> None:
        size = shutil.get_terminal_size()
        channel.resize_pty(size.columns, size.lines)

    saved = termios.tcgetattr(sys.stdin)
    old_handler = signal.signal(signal.SIGWINCH, resized)
    try:
        tty.setraw(sys.stdin.fileno())
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)
        signal.signal(signal.SIGWINCH, old_handler)
