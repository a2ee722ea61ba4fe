"""One command on a host: its three streams and its exit status, and never a wait without an end."""

from __future__ import annotations

import collections
import select
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from machinectl.errors import CONNECTION_BROKEN, BecomeFailed, ConnectionFailed, MachinectlError, RemoteFailed
from machinectl.remote import become
from machinectl.remote.deadline import Deadline

if TYPE_CHECKING:
    import paramiko

MAX_LINE = 16 * 1024 * 1024
"""Bytes; the same as machinectl_agent.wire's."""

_READ = 1024 * 1024
_ALL = 1 << 30
"""More than a window."""
_STDERR_KEPT = 64 * 1024
_PACKET = 32 * 1024
"""Bytes per write: sshd takes no larger packet, and slicing more copies it again for every packet."""


@dataclass(frozen=True)
class Completed:
    """A command that has ended."""

    status: int
    stdout: bytes
    stderr: bytes


class SilenceError(RemoteFailed):
    """Nothing came in the time given; the command still runs."""

    problem = "remote-silent"


class InputClosed(RemoteFailed):
    """The command ended, or closed its stdin, before it had read what was written to it."""

    problem = "remote-input-closed"


class Channel:
    """A running command. Timeouts are seconds. Not for use by two threads at once.

    Raises `ConnectionFailed` when the connection breaks, `BecomeFailed` when root was not to be had.
    """

    def __init__(
        self,
        channel: paramiko.Channel,
        *,
        label: str,
        user: str,
        wrapped: become.Wrapped | None,
        password: str | None,
    ) -> None:
        self._channel = channel
        self._label = label
        self._user = user
        self._wrapped = wrapped
        self._password = password
        self._asked = False
        self._waited = False
        """For the end of the connection, which outlives most of its channels."""
        self._stdout = bytearray()
        self._stderr: collections.deque[bytes] = collections.deque()
        self._stderr_size = 0
        self._on_stderr: Callable[[bytes], None] | None = None
        self._sudo = bytearray()
        self._poll = select.poll()
        self._poll.register(channel.fileno(), select.POLLIN)

    def write(self, content: bytes | memoryview, timeout: float) -> None:
        """All of `content` to the command's stdin. Waits for root first where sudo may ask for a password.

        Raises `SilenceError` when the command does not read, `InputClosed` when it never will.
        """
        deadline = Deadline(timeout)
        self._wait_for_root(deadline)
        view = memoryview(content)
        position = 0
        while position < len(view):
            self._channel.settimeout(deadline.left())
            try:
                sent = self._channel.send(bytes(view[position : position + _PACKET]))
            except TimeoutError:
                raise SilenceError(
                    "the command takes no more input", why=f"for {timeout:g} s", machine=self._label
                ) from None
            except OSError as error:
                raise self._input_closed(deadline) from error
            position += sent

    def close_input(self, timeout: float = 30.0) -> None:
        """End of file for the command's stdin, not before sudo has had its password."""
        self._wait_for_root(Deadline(timeout))
        self._channel.shutdown_write()

    def divert_stderr(self, taker: Callable[[bytes], None]) -> None:
        """What is on stderr goes to `taker`, too: what came before this call at once."""
        if self._stderr:
            taker(self.stderr)
        self._on_stderr = taker

    def receive(self, timeout: float) -> bool:
        """Waits until something has come on either stream, and takes in what is on stderr; False at the end of both.
        Raises `SilenceError`."""
        return self._channel.recv_ready() or self._pump(Deadline(timeout), "the command")

    def take_in(self) -> None:
        """stderr as far as it has come; waits for nothing."""
        if self._channel.recv_stderr_ready():
            self._take_stderr(self._channel.recv_stderr(_READ))

    def take_stdout(self) -> bytes:
        """stdout as far as it has come; waits for nothing, empty where nothing has come."""
        if not self._stdout and self._channel.recv_ready():
            # all that is there: paramiko moves what is left for each read, 64 MB where we are slower than the host
            return bytes(self._channel.recv(_ALL))
        content = bytes(self._stdout)
        self._stdout.clear()
        return content

    def read(self, timeout: float) -> bytes:
        """Whatever stdout has next; empty at its end. Raises `SilenceError`."""
        deadline = Deadline(timeout)
        while not self._stdout:
            if not self._pump(deadline, "the command"):
                return b""
        content = bytes(self._stdout)
        self._stdout.clear()
        return content

    def read_line(self, timeout: float, limit: int = MAX_LINE) -> bytes:
        """One line with its newline; without one only at the end; empty at the end.

        Raises `SilenceError`, and `RemoteFailed` for a line longer than `limit`.
        """
        deadline = Deadline(timeout)
        searched = 0
        while True:
            end = self._stdout.find(b"\n", searched)
            if end >= 0 or self._ended:
                end = end if end >= 0 else len(self._stdout) - 1
                line = bytes(self._stdout[: end + 1])
                del self._stdout[: end + 1]
                return line
            searched = len(self._stdout)
            if searched > limit:
                raise RemoteFailed(
                    f"a line of more than {limit} bytes came",
                    why=f"it starts with {bytes(self._stdout[:80])!r}",
                )
            self._pump(deadline, "the command")

    def pass_on(self, out: Callable[[bytes], None], err: Callable[[bytes], None], timeout: float) -> int:
        """Both streams as they come, until they end; then the exit status. `timeout` is for all of it.

        Raises `SilenceError` when the time is over.
        """
        deadline = Deadline(timeout)
        self._on_stderr = err
        try:
            while True:
                if self._stdout:
                    content = bytes(self._stdout)
                    self._stdout.clear()
                    out(content)
                elif not self._pump(deadline, "the command"):
                    return self.wait(max(deadline.left(), 1.0))
                elif deadline.expired:  # one that never falls silent
                    raise SilenceError("the command did not end", machine=self._label)
        finally:
            self._on_stderr = None

    def lines(self, idle: float) -> Iterator[bytes]:
        """Lines until the end; `idle` is the longest wait for one."""
        while line := self.read_line(idle):
            yield line

    def stderr_tail(self) -> str:
        """The end of what came on stderr so far, as text."""
        return b"".join(self._stderr).decode(errors="replace").strip()

    @property
    def stderr(self) -> bytes:
        """The last 64 KiB of stderr."""
        return b"".join(self._stderr)

    def wait(self, timeout: float) -> int:
        """The exit status; stdout that was not read is dropped. 128 + n for a signal n is not told apart."""
        deadline = Deadline(timeout)
        while not self._ended:
            self._pump(deadline, "the command")
            self._stdout.clear()
        if not self._channel.status_event.wait(deadline.left()) and not self._channel.closed:
            raise SilenceError("the command did not end", why=f"in {timeout:g} s", machine=self._label)
        status = int(self._channel.exit_status)
        if self._lost():
            raise self.broken(self._channel.get_transport())
        if self._wrapped:
            raise self._no_root()
        if status == -1:
            return 255  # ended by a signal, or a server that tells no status: ssh(1) says 255 as well
        return status

    def end(self) -> None:
        """`close`, from any thread: whoever reads sees the end."""
        self._waited = True  # it is not the connection's
        self._channel.close()

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def broken(self, transport: paramiko.Transport) -> ConnectionFailed:
        reason = transport.saved_exception
        return ConnectionFailed(
            "the SSH connection broke while a command ran",
            why=str(reason) if reason and str(reason) else "the host closed it or is gone",
            hint="is the host still up? run the command again: it goes on where it stopped",
            machine=self._label,
            problem=CONNECTION_BROKEN,
        )

    def _lost(self) -> bool:
        """Whether the streams ended because the connection did.

        paramiko's thread closes its channels a moment before it says that it is over itself.
        """
        if self._channel.exit_status != -1 or not self._channel.closed:
            return False
        transport = self._channel.get_transport()
        if not self._waited:
            self._waited = True
            transport.join(1.0)
        return not transport.is_active()

    def _wait_for_root(self, deadline: Deadline) -> None:
        """Returns when stdin is the command's own: at once where sudo never asks."""
        while self._wrapped and self._wrapped.prompt:
            self._pump(deadline, "sudo")

    @property
    def _ended(self) -> bool:
        channel = self._channel
        over = channel.eof_received or channel.closed
        return bool(over and not channel.recv_ready() and not channel.recv_stderr_ready())

    def _pump(self, deadline: Deadline, who: str) -> bool:
        """Moves what has come into our buffers, waiting for something; False at the end of the streams."""
        channel = self._channel
        while True:
            came = False
            if channel.recv_stderr_ready():
                self._take_stderr(channel.recv_stderr(_READ))
                came = True
            if channel.recv_ready():
                self._stdout += channel.recv(_READ)
                came = True
            if came:
                return True
            if self._ended:
                if self._lost():
                    raise self.broken(channel.get_transport())
                if self._wrapped:
                    raise self._no_root()
                return False
            if deadline.expired:
                raise SilenceError(
                    f"nothing came from {who} in {deadline.seconds:g} s",
                    why=self.stderr_tail()[-300:],
                    machine=self._label,
                )
            # In steps of at most 1 s, so that a closed descriptor is no endless wait either.
            self._poll.poll(min(deadline.left(), 1.0) * 1000)

    def _take_stderr(self, content: bytes) -> None:
        if self._wrapped:
            content = self._watch_sudo(content)
        if content and self._on_stderr:
            self._on_stderr(content)
        if content:
            self._stderr.append(content)
            self._stderr_size += len(content)
        while self._stderr_size > _STDERR_KEPT and len(self._stderr) > 1:
            self._stderr_size -= len(self._stderr.popleft())

    def _watch_sudo(self, content: bytes) -> bytes:
        """Answers sudo's prompt; returns what is the command's own stderr already."""
        assert self._wrapped
        self._sudo += content
        before, started, after = bytes(self._sudo).partition(self._wrapped.started)
        if started:
            self._wrapped = None
            return after
        if self._wrapped.prompt and self._wrapped.prompt in before:
            if self._asked:
                failure = become.wrong_password(self._user)
                failure.machine = self._label
                raise failure
            self._asked = True
            self._sudo.clear()
            assert self._password is not None
            self._channel.sendall(self._password.encode() + b"\n")
        return b""

    def _no_root(self) -> MachinectlError:
        text = self._sudo.decode(errors="replace")
        failure: BecomeFailed = become.explain(text, self._user, asked=self._asked)
        failure.machine = self._label
        return failure

    def _input_closed(self, deadline: Deadline) -> MachinectlError:
        """Why a command stopped reading: it ended, or the link did, or it never became root."""
        transport = self._channel.get_transport()
        if not transport.is_active():
            return self.broken(transport)
        if self._wrapped:
            try:
                self.wait(min(deadline.left(), 5.0))
            except MachinectlError as error:
                return error
        return InputClosed("the command ended before it had read its input", machine=self._label)
