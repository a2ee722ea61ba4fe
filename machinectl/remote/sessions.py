"""One SSH session: fabric's Connection over paramiko, with our ciphers, host key check and authentication.

Loading this costs 60 ms: it is imported when the socket is there, so that the host's sshd gets ready meanwhile.
"""

from __future__ import annotations

import logging
import socket
from pathlib import Path
from typing import Any

import fabric
import paramiko

from machinectl.errors import ConnectionFailed
from machinectl.remote.authenticate import KeyStrategy
from machinectl.remote.deadline import Deadline
from machinectl.remote.hostkeys import HostKey, KnownHosts
from machinectl.remote.sockets import ProxyProcess
from machinectl.remote.sshconfig import Settings

CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
)
_DIGESTS = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}
"""known_hosts names the key's type; RSA keys are negotiated by the name of the signature (RFC 8332)."""

# paramiko logs its tracebacks at ERROR; without any handler Python would print them on stderr.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


def open_session(
    settings: Settings,
    sock: Any,
    known: KnownHosts,
    deadline: Deadline,
    extra: tuple[Path, ...],
    label: str,
    proxy: ProxyProcess | None,
) -> fabric.Connection:
    """Logs in over a socket. Raises `MachinectlError`; the socket is closed then."""
    connection = _prepared(settings, sock, known, deadline, extra, label)
    try:
        connection.open()
    except (paramiko.SSHException, OSError, EOFError) as error:
        failure = _explain(error, settings, connection, proxy, deadline, label)
        connection.client.close()
        raise failure from error
    except BaseException:
        connection.client.close()
        raise
    return connection


def open_socket(
    before: fabric.Connection, settings: Settings, deadline: Deadline, jump: str
) -> paramiko.Channel:
    """To the next host from the one before it. Raises `ConnectionFailed`."""
    try:
        return before.transport.open_channel(
            "direct-tcpip",
            dest_addr=(settings.host, settings.port),
            src_addr=("", 0),
            window_size=64 * 1024 * 1024,
            timeout=deadline.left(),
        )
    except (paramiko.SSHException, EOFError) as error:
        reason = error.text if isinstance(error, paramiko.ChannelException) else str(error)
        raise ConnectionFailed(
            f"{settings.host}:{settings.port} can't be reached from the jump host {jump}",
            why=str(reason),
            hint="look at AllowTcpForwarding in its sshd_config, and at the way from there",
        ) from error


def _prepared(
    settings: Settings, sock: Any, known: KnownHosts, deadline: Deadline, extra: tuple[Path, ...], label: str
) -> fabric.Connection:
    def transport_factory(raw: Any, **options: Any) -> paramiko.Transport:
        transport = paramiko.Transport(raw, **options)
        security = transport.get_security_options()
        security.ciphers = tuple(one for one in CIPHERS if one in security.ciphers)
        security.key_types = prefer(known.kinds(), tuple(security.key_types))
        transport.banner_timeout = transport.handshake_timeout = deadline.left()
        transport.daemon = True
        return transport

    # An empty SSHConfig and a lazy Config: neither fabric's own files nor a second reading of ~/.ssh/config.
    connection = fabric.Connection(
        settings.host,
        user=settings.user,
        port=settings.port,
        config=fabric.Config(ssh_config=paramiko.SSHConfig(), lazy=True),
        gateway=False,
        connect_kwargs={
            "sock": sock,
            "timeout": deadline.left(),
            "transport_factory": transport_factory,
            "auth_strategy": KeyStrategy(settings, deadline, extra, label),
        },
    )
    connection.client.set_missing_host_key_policy(_Pinning(known, label))
    return connection


class _Pinning(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]  # paramiko has no types
    """paramiko's seam for host keys. Its own tables stay empty, so that every key comes here."""

    def __init__(self, known: KnownHosts, label: str) -> None:
        self._known = known
        self._label = label

    def missing_host_key(
        self, client: object, hostname: str, key: paramiko.PKey
    ) -> None:  # paramiko's signature
        self._known.check(HostKey(key.get_name(), key.asbytes()), self._label)


def prefer(known: tuple[str, ...], offered: tuple[str, ...]) -> tuple[str, ...]:
    """Pure: the host key algorithms to ask for, those of known keys in front."""
    wanted = [name for kind in known for name in _DIGESTS.get(kind, (kind,)) if name in offered]
    return tuple(dict.fromkeys([*wanted, *offered]))


def _explain(
    error: Exception,
    settings: Settings,
    connection: fabric.Connection,
    proxy: ProxyProcess | None,
    deadline: Deadline,
    label: str,
) -> ConnectionFailed:
    place = f"{settings.host}:{settings.port}"
    if proxy and (tail := proxy.stderr_tail()):
        return ConnectionFailed(
            f"{label}: the ProxyCommand failed", why=tail, hint=f"run it by hand: {proxy.command}"
        )
    if deadline.expired:
        return _timed_out(settings, deadline, label)
    if isinstance(error, paramiko.IncompatiblePeer):
        return ConnectionFailed(
            f"{label} and we have no algorithm in common", why=str(error), hint="upgrade the host's sshd"
        )
    text = str(error) or type(error).__name__
    if "banner" in text or "protocol version" in text:
        return ConnectionFailed(
            f"{place} does not speak SSH",
            why=text.removeprefix("Error reading SSH protocol banner") or "it closed the connection at once",
            hint="is this the right port (--ssh-port)? sshd closes at once when MaxStartups is reached",
        )
    transport = connection.client.get_transport()
    if isinstance(error, (EOFError, socket.error)) or (transport and not transport.is_active()):
        return ConnectionFailed(
            f"{label} closed the connection", why=text, hint="sshd's log on the host says why"
        )
    return ConnectionFailed(f"no SSH session with {label}", why=text)


def _timed_out(settings: Settings, deadline: Deadline, label: str) -> ConnectionFailed:
    return ConnectionFailed(
        f"{label} did not finish the SSH login in {deadline.seconds:g} s",
        why=f"{settings.host}:{settings.port} takes connections but does not answer (in time)",
        hint="is the host overloaded, or is this not its SSH port?",
    )
