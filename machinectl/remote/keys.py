"""Private keys: files of every format that OpenSSH writes, and ssh-agents.

A passphrase is asked for once per run, on the terminal, and only where no agent holds the key. The public
half of an encrypted key is readable, so the agent's copy is found without asking anything.
"""

from __future__ import annotations

import base64
import binascii
import getpass
import io
import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from machinectl.remote.deadline import Deadline
from machinectl.remote.sshconfig import DEFAULT_KEYS, Settings

if TYPE_CHECKING:
    from paramiko import PKey
    from paramiko.agent import AgentSSH

_PASSPHRASE_TRIES = 3
_unlocked: dict[Path, PKey] = {}
_prompt_lock = threading.Lock()
"""One person, one terminal: threads for other machines wait and then find the key unlocked."""


class KeyUnusable(Exception):
    """A key that can't be tried; the text is the reason, `hint` what to do about it."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


@dataclass(frozen=True)
class Candidate:
    """A key that may open the door. `load` does the work (and may ask for a passphrase)."""

    label: str
    load: Callable[[], PKey] = field(repr=False)


def candidates(
    settings: Settings, agent: AgentSSH | None, deadline: Deadline, *, extra: tuple[Path, ...] = ()
) -> Iterator[Candidate]:
    """The keys for one hop in the order of ssh(1): named files, the agent's other keys, default files.

    `extra` are files to try after the named ones. Encrypted default files come last: asking for a
    passphrase is worth it only when nothing else got us in.
    """
    held = {bytes(key.asbytes()): key for key in agent.get_keys()} if agent else {}
    named = settings.identity_files + tuple(one for one in extra if one not in settings.identity_files)
    for path in named:
        blob = public_blob(path)
        if blob in held:
            key = held.pop(blob)
            yield Candidate(f"{path} (by ssh-agent)", lambda key=key: key)  # type: ignore[misc]
        else:
            yield Candidate(str(path), lambda path=path: load(path, deadline))  # type: ignore[misc]
    if settings.identities_only:
        return
    for key in held.values():
        label = f"ssh-agent's {getattr(key, 'comment', '') or key.get_name()}"
        yield Candidate(label, lambda key=key: key)  # type: ignore[misc]
    if settings.identity_files:
        return
    defaults = [Path("~/.ssh").expanduser() / name for name in DEFAULT_KEYS]
    defaults = [path for path in defaults if path.is_file() and public_blob(path) not in held]
    for path in sorted(defaults, key=is_encrypted):  # stable: the order within each half stays
        yield Candidate(str(path), lambda path=path: load(path, deadline))  # type: ignore[misc]


def open_agent(path: str, timeout: float) -> AgentSSH | None:
    """The agent behind a socket; None where there is none or it does not answer."""
    if not path:
        return None
    from paramiko import SSHException  # noqa: PLC0415  # 150 ms, wanted only when connecting
    from paramiko.agent import AgentSSH  # noqa: PLC0415

    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        connection.connect(path)
        agent = AgentSSH()
        agent._connect(connection)  # paramiko's public Agent() knows $SSH_AUTH_SOCK only, not IdentityAgent
    except (OSError, SSHException, struct.error):
        connection.close()
        return None
    return agent


def load(path: Path, deadline: Deadline) -> PKey:
    """A private key of a file. Raises `KeyUnusable`. Time that a person spends typing is not counted."""
    started = time.monotonic()
    with _prompt_lock:
        try:
            key = _unlocked.get(path)
            if key is None:
                key = _unlocked[path] = _load_with_certificate(path)
        finally:
            deadline.extend(time.monotonic() - started)
    return key


def _load_with_certificate(path: Path) -> PKey:
    data = _read_checked(path)
    encrypted = _is_encrypted(data)
    key = None if encrypted else _parse(data, None, path)
    for attempt in range(_PASSPHRASE_TRIES if encrypted else 0):
        passphrase = ask_passphrase(f"Passphrase for {path}: ")
        if passphrase is None:
            raise KeyUnusable(
                "it has a passphrase, and there is no terminal to ask for it",
                f"ssh-add {path}, in the ssh-agent that this runs with",
            )
        try:
            key = _parse(data, passphrase.encode(), path)
            break
        except KeyUnusable:
            if attempt + 1 == _PASSPHRASE_TRIES:
                raise KeyUnusable(f"{_PASSPHRASE_TRIES} wrong passphrases", f"ssh-add {path}") from None
    assert key is not None
    certificate = Path(f"{path}-cert.pub")
    if certificate.is_file():
        key.load_certificate(str(certificate))
    return key


def ask_passphrase(prompt: str) -> str | None:
    """What the person typed; None where there is no terminal (getpass would read stdin then)."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return None
    return getpass.getpass(prompt)


def _read_checked(path: Path) -> bytes:
    try:
        status = path.stat()
        data = path.read_bytes()
    except FileNotFoundError:
        raise KeyUnusable("there is no such file", "check --ssh-key or IdentityFile") from None
    except OSError as error:
        raise KeyUnusable(f"it can't be read: {error.strerror}", f"ls -l {path}") from None
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid == os.getuid() and mode & 0o077:  # ssh(1) refuses these as well
        raise KeyUnusable(f"others can read it (mode {mode:04o})", f"chmod 600 {path}")
    return data


def _parse(data: bytes, passphrase: bytes | None, path: Path) -> PKey:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  # 60 ms, as above
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from paramiko import ECDSAKey, Ed25519Key, RSAKey, SSHException  # noqa: PLC0415

    read = serialization.load_pem_private_key
    if b"OPENSSH PRIVATE KEY" in data:
        read = serialization.load_ssh_private_key
    try:
        # By way of OpenSSH's own format: paramiko does not read PKCS#8, cryptography reads everything.
        plain = read(data, passphrase).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        reason = "wrong passphrase" if passphrase is not None else f"it is no private key: {error}"
        hint = (
            f"{path.with_suffix('')} is its private half?"
            if path.suffix == ".pub"
            else f"ssh-keygen -y -f {path}"
        )
        raise KeyUnusable(reason, hint) from None
    for kind in (Ed25519Key, ECDSAKey, RSAKey):
        try:
            found: PKey = kind.from_private_key(io.StringIO(plain.decode("ascii")))
            return found
        except SSHException:  # three tries at most
            continue
    raise KeyUnusable("its type is not supported", "use an ed25519, ECDSA or RSA key")


def is_encrypted(path: Path) -> bool:
    try:
        return _is_encrypted(path.read_bytes())
    except OSError:
        return False


def _is_encrypted(data: bytes) -> bool:
    if b"ENCRYPTED" in data:  # PKCS#8's header, or legacy PEM's Proc-Type
        return True
    fields = _openssh_fields(data)
    return bool(fields) and fields[0] != b"none"


def public_blob(path: Path) -> bytes:
    """The public half of a key file, from `PATH.pub` or the file itself; empty where it can't be told."""
    for one in (path, Path(f"{path}.pub")):
        try:
            data = one.read_bytes()
        except OSError:
            continue
        fields = _openssh_fields(data)
        if len(fields) == 4:
            return fields[3]
        words = data.split()
        if one.suffix == ".pub" and len(words) > 1:
            try:
                return base64.b64decode(words[1])
            except binascii.Error:
                continue
    return b""


def _openssh_fields(data: bytes) -> list[bytes]:
    """(cipher, kdf, kdf options, public key) of openssh-key-v1, PROTOCOL.key; empty for other formats."""
    magic = b"openssh-key-v1\0"
    lines = [line for line in data.splitlines() if line and b"-----" not in line]
    if b"BEGIN OPENSSH PRIVATE KEY" not in data:
        return []
    try:
        body = base64.b64decode(b"".join(lines))
        position = len(magic)
        fields = []
        for index in range(4):
            if index == 3:
                position += 4  # the number of keys, always 1
            (length,) = struct.unpack_from(">I", body, position)
            fields.append(body[position + 4 : position + 4 + length])
            position += 4 + length
    except (binascii.Error, struct.error):
        return []
    return fields if body.startswith(magic) else []
