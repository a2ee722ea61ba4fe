"""The same as connection.py and channel.py for one long stream, by the system's ssh: it encrypts in a process of its
own, while we read and write files, and costs no paramiko. Where it can't log in, we do (see streams.py)."""

from __future__ import annotations

import collections
import contextlib
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from machinectl.errors import CONNECTION_BROKEN, ConnectionFailed
from machinectl.model import SshAddress
from machinectl.remote.become import Become, wrap
from machinectl.remote.channel import MAX_LINE, InputClosed, SilenceError
from machinectl.remote.deadline import Deadline
from machinectl.remote.openssh import render_ssh
from machinectl.remote.sshconfig import Settings, plan_hops

_OPTIONS = (
    "BatchMode=yes",
    "ConnectTimeout=5",
    "ControlPath=none",
    "ClearAllForwardings=yes",
    "Compression=no",
    # 1.5 times as fast as what ssh prefers; the others stay, for hosts that lack it
    "Ciphers=^aes128-gcm@openssh.com,aes256-gcm@openssh.com",
    # before the 15 s and three times of openssh.py: a link that is gone is noticed in 20 s
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
)
_READ = 1024 * 1024
_PIPE = 1024 * 1024
_SET_PIPE_SIZE = 1031
"""F_SETPIPE_SZ of Linux; in fcntl from Python 3.10 on, and only there."""
_FAILED = 255
"""ssh's own exit status."""


class NativeConnection:
    """An address and how to get there; each `start` logs in anew."""

    def __init__(self, address: SshAddress, *, machine: str, known_hosts: Path, become: Become) -> None:
        """Raises `ConnectionFailed` where the configuration says nothing usable."""
        hops = plan_hops(address, Deadline(15.0), base=known_hosts.parent)
        command = render_ssh(hops, known_hosts, key=bool(address.key), config=address.config)
        options = [word for one in _OPTIONS for word in ("-o", one)]
        self._command = [command[0], "-T", *options, *command[1:]]
        self._become = become
        self.machine = machine
        self.settings: Settings = hops[-1]

    def start(self, command: str, *, timeout: float) -> NativeChannel:
        """As `Connection.start`, as root; ssh has a deadline of its own."""
        if self._become.wraps(self.settings.user):
            command = wrap(command, self._become).command
        return NativeChannel([*self._command, command], self.machine)

    def unprivileged(self) -> NativeConnection:
        """The same, whose commands run as the user who logs in."""
        other: NativeConnection = object.__new__(NativeConnection)
        other.__dict__.update(self.__dict__)
        other._become = Become("none")
        return other


def native_connection(
    address: SshAddress, *, machine: str, known_hosts: Path, become: Become
) -> NativeConnection | None:
    """None where there is no ssh client, or sudo wants a password, which only channel.py hands over."""
    if become.password is not None or shutil.which("ssh") is None:
        return None
    return NativeConnection(address, machine=machine, known_hosts=known_hosts, become=become)


class NativeChannel:
    """What streams.py and bootstrap.py use of a `Channel`."""

    def __init__(self, command: list[str], machine: str) -> None:
        self._machine = machine
        # a session of its own: no question is asked on the terminal, and Ctrl-C is ours to handle
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            bufsize=0,
        )
        self._stdin, self._stdout, self._stderr = (
            _descriptor(one) for one in (self._process.stdin, self._process.stdout, self._process.stderr)
        )
        os.set_blocking(self._stdin, False)
        self._open = {self._stdout, self._stderr}
        self._poll = select.poll()
        for one in self._open:
            self._poll.register(one, select.POLLIN)
        self._left = b""
        self._said: collections.deque[bytes] = collections.deque(maxlen=64)
        self._on_stderr: Callable[[bytes], None] | None = None

    def write(self, content: bytes | memoryview, timeout: float) -> None:
        """All of it; stderr is taken in meanwhile. Raises `InputClosed`, `SilenceError`."""
        view = memoryview(content)
        deadline = Deadline(timeout)
        while view:
            try:
                view = view[os.write(self._stdin, view) :]
            except BlockingIOError:
                if deadline.expired:
                    raise SilenceError("the command takes no more input", machine=self._machine) from None
                self._wait_to_write(deadline)
            except OSError as error:
                raise InputClosed("the command takes no more input", machine=self._machine) from error

    def close_input(self, timeout: float = 30.0) -> None:
        """End of file for the command's stdin."""
        if self._process.stdin:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def divert_stderr(self, taker: Callable[[bytes], None]) -> None:
        """As `Channel.divert_stderr`."""
        if self._said:
            taker(b"".join(self._said))
        self._on_stderr = taker

    def receive(self, timeout: float) -> bool:
        """As `Channel.receive`."""
        if self._left:
            return True
        if not self._open:
            return False
        ready = self._poll.poll(timeout * 1000)
        if not ready:
            raise SilenceError(f"nothing came in {timeout:g} s", machine=self._machine)
        if any(descriptor == self._stderr for descriptor, _ in ready):
            self._take_stderr()
        if any(descriptor == self._stdout for descriptor, _ in ready):
            self._left = self._read(self._stdout, _READ)
        return bool(self._open or self._left)

    def take_in(self) -> None:
        """stderr as far as it has come."""
        if self._stderr in self._open and _readable(self._stderr):
            self._take_stderr()

    def take_stdout(self) -> bytes:
        """stdout as far as it has come."""
        content, self._left = self._left, b""
        if not content and self._stdout in self._open and _readable(self._stdout):
            return self._read(self._stdout, _READ)
        return content

    def read_line(self, timeout: float, limit: int = MAX_LINE) -> bytes:
        """As `Channel.read_line`."""
        line = b""
        deadline = Deadline(timeout)
        while True:
            part = self.take_stdout()
            head, newline, rest = part.partition(b"\n")
            line += head + newline
            if newline:
                self._left = rest
                return line
            if len(line) > limit:
                raise SilenceError("a line without end came", machine=self._machine)
            if not part:
                if self._stdout not in self._open:
                    return line
                self.receive(deadline.left())

    def stderr_tail(self) -> str:
        return b"".join(self._said).decode(errors="replace").strip()

    def wait(self, timeout: float) -> int:
        """The exit status. Raises `ConnectionFailed` where it is ssh's own."""
        end = time.monotonic() + timeout
        while self._open and time.monotonic() < end:
            with contextlib.suppress(SilenceError):
                self.receive(max(end - time.monotonic(), 0.01))
            self._left = b""
        try:
            status = self._process.wait(max(end - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired as error:
            raise SilenceError(
                "the command did not end", why=f"in {timeout:g} s", machine=self._machine
            ) from error
        if status == _FAILED:
            raise ConnectionFailed(
                "the SSH connection broke while a command ran",
                why=self.stderr_tail().rpartition("\n")[2] or "the host closed it or is gone",
                hint="is the host still up? run the command again: it goes on where it stopped",
                machine=self._machine,
                problem=CONNECTION_BROKEN,
            )
        return status

    def end(self) -> None:
        """Ends ssh, and by it what runs on the host. From any thread: whoever reads sees the end."""
        if self._process.poll() is None:
            self._process.terminate()

    def close(self) -> None:
        self.end()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._open.clear()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _wait_to_write(self, deadline: Deadline) -> None:
        poll = select.poll()
        poll.register(self._stdin, select.POLLOUT)
        if self._stderr in self._open:
            poll.register(self._stderr, select.POLLIN)
        for descriptor, _ in poll.poll(deadline.left() * 1000):
            if descriptor == self._stderr:
                self._take_stderr()

    def _take_stderr(self) -> None:
        content = self._read(self._stderr, 65536)
        if content:
            self._said.append(content)
            if self._on_stderr:
                self._on_stderr(content)

    def _read(self, descriptor: int, size: int) -> bytes:
        content = os.read(descriptor, size)
        if not content:
            self._open.discard(descriptor)
            self._poll.unregister(descriptor)
        return content


def _descriptor(pipe: IO[bytes] | None) -> int:
    """A pipe of a MiB where the kernel allows it."""
    assert pipe
    with contextlib.suppress(OSError, ImportError):
        import fcntl  # noqa: PLC0415 - not on every system

        fcntl.fcntl(pipe.fileno(), _SET_PIPE_SIZE, _PIPE)
    return pipe.fileno()


def _readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
