"""One SSH connection to one machine, and what is done over it.

fabric's Connection over paramiko, with a socket, host key check and authentication of our own. Ciphers are
AES-GCM first: 260–312 MB/s where the default gives 193. This module imports paramiko (150 ms); callers on
fast paths import it when they connect.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import shlex
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from machinectl.errors import ConnectionFailed, MachinectlError, RemoteFailed
from machinectl.model import SshAddress
from machinectl.remote.become import Become, wrap
from machinectl.remote.channel import Channel, Completed, InputClosed
from machinectl.remote.deadline import Deadline

if TYPE_CHECKING:
    from machinectl.remote.hops import Hop

CONNECT_DEADLINE = 15.0
"""Seconds for everything up to and including authentication, jump hosts too."""

WINDOW = 64 * 1024 * 1024
"""Bytes that a host may send ahead; memory is used only for what has come and was not read."""

_CHUNK = 1024 * 1024


class Connection:
    """Runs commands, as root unless told otherwise. One thread at a time; a machine each in many threads."""

    def __init__(self, hops: list[Hop], become: Become, machine: str, window: int = WINDOW) -> None:
        self._hops = hops
        self._become = become
        self.machine = machine
        self.window = window
        self.settings = hops[-1].settings
        self.fabric = hops[-1].connection
        """The fabric.Connection itself, for what this class does not offer."""

    def start(
        self, command: str, *, as_root: bool = True, timeout: float = CONNECT_DEADLINE, window: int = 0
    ) -> Channel:
        """A command by the login shell; `as_root` puts it through sudo where the user isn't root. `window`: bytes
        that the host may send ahead of what is read; 0: the connection's own."""
        import paramiko  # noqa: PLC0415  # 150 ms

        wrapped = wrap(command, self._become) if as_root and self._become.wraps(self.settings.user) else None
        transport = self.fabric.transport
        try:
            channel = transport.open_session(window_size=window or self.window, timeout=timeout)
            channel.settimeout(timeout)
            started = Channel(
                channel,
                label=self.machine,
                user=self.settings.user,
                wrapped=wrapped,
                password=self._become.password,
            )
            channel.exec_command(wrapped.command if wrapped else command)
        except (paramiko.SSHException, OSError, EOFError) as error:
            if isinstance(error, paramiko.ChannelException):
                raise RemoteFailed(
                    "the host opens no further session",
                    why=str(error.text),
                    hint="MaxSessions in sshd_config",
                    machine=self.machine,
                ) from error
            raise ConnectionFailed(
                "the SSH connection is broken", why=str(error), machine=self.machine
            ) from error
        return started

    def run(self, command: str, *, stdin: bytes = b"", deadline: float, as_root: bool = True) -> Completed:
        """Runs to the end; any exit status is an answer. `deadline` is seconds for all of it.

        Of stderr the last 64 KiB are kept. Raises `RemoteFailed` (time), `ConnectionFailed`, `BecomeFailed`.
        """
        clock = Deadline(deadline)
        with self.start(command, as_root=as_root, timeout=clock.left()) as channel:
            with contextlib.suppress(InputClosed):  # not reading its input is a command's own affair
                channel.write(stdin, clock.left())
                channel.close_input()
            out = bytearray()
            while part := channel.read(clock.left()):
                out += part
            return Completed(channel.wait(clock.left()), bytes(out), channel.stderr)

    def upload(self, source: Path | bytes, path: str, *, mode: int = 0o600, deadline: float) -> None:
        """A file at `path`, whole or not at all: written beside it, compared by SHA-256, synced, renamed.

        Raises `RemoteFailed` with the host's own words (no space, no such folder, read-only …).
        """
        clock = Deadline(deadline)
        command = render_receive(f"{path}.{secrets.token_hex(4)}.tmp", path, mode, _sha256(source))
        with self.start(f"exec sh -c {shlex.quote(command)}", timeout=clock.left()) as channel:
            with contextlib.suppress(InputClosed):  # the exit status and stderr say what happened
                if isinstance(source, bytes):
                    channel.write(source, clock.left())
                else:
                    with source.open("rb") as file:
                        while part := file.read(_CHUNK):
                            channel.write(part, clock.left())
                channel.close_input()
            status = channel.wait(clock.left())
            if status:
                raise _upload_failed(path, channel.stderr_tail(), status, self.machine)

    def unprivileged(self) -> Connection:
        """The same connection, whose commands run as the user who logged in."""
        return Connection(self._hops, Become("none"), self.machine, self.window)

    def close(self) -> None:
        for hop in reversed(self._hops):
            hop.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_connection(
    address: SshAddress,
    *,
    machine: str,
    known_hosts: Path,
    become: Become,
    deadline: float = CONNECT_DEADLINE,
    replace_host_key: bool = False,
) -> Connection:
    """Logs in to a machine, through its jump hosts if it has any.

    `known_hosts` is the store's file, where host keys are pinned; a relative key path of `address` starts
    from its folder. `deadline` is seconds for everything. `replace_host_key` takes the key that the host
    shows now for the right one.
    Raises `ConnectionFailed` and, below it, `HostKeyChanged` and `AuthenticationFailed`.
    """
    from machinectl.remote.hops import open_hops  # noqa: PLC0415

    try:
        hops = open_hops(address, known_hosts, Deadline(deadline), replace_host_key=replace_host_key)
    except MachinectlError as error:
        error.machine = error.machine or machine
        raise
    return Connection(hops, become, machine)


def render_receive(temporary: str, path: str, mode: int, digest: str) -> str:
    """Pure: the POSIX sh script at the other end of `upload`. Needs coreutils or busybox."""
    old, new = shlex.quote(temporary), shlex.quote(path)
    return "\n".join(
        (
            "set -e; umask 077",
            f'mkdir -p -- "$(dirname -- {new})"',
            f"old={old}",
            "trap 'rm -f -- \"$old\"' EXIT",
            'cat > "$old"',
            'sum=$(sha256sum < "$old")',
            f'[ "${{sum%% *}}" = {digest} ] || {{ echo "the SHA-256 differs" >&2; exit 65; }}',
            f'chmod {mode:o} "$old"',
            'sync "$old" 2>/dev/null || :',
            f'mv -f -- "$old" {new}',
        )
    )


def _sha256(source: Path | bytes) -> str:
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    digest = hashlib.sha256()
    with source.open("rb") as file:  # hashlib.file_digest is Python 3.11's
        while part := file.read(_CHUNK):
            digest.update(part)
    return digest.hexdigest()


def _upload_failed(path: str, stderr: str, status: int, machine: str) -> RemoteFailed:
    full = "No space left" in stderr or "Disk quota exceeded" in stderr
    return RemoteFailed(
        f"{path} can't be written on the host",
        why=stderr[-300:] or f"exit status {status}",
        hint="make room on the host: `df -h` there says where" if full else "",
        machine=machine,
        problem="disk-full" if full else "",
    )
