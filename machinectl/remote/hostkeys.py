"""Host keys: pinned at first contact in the store's known_hosts, compared ever after.

The file has OpenSSH's format (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT), so that `ssh -o UserKnownHostsFile=…`
agrees with us. Several controllers and threads pin at once: a lock file beside it orders them, an entry is
one appended line, a replacement is a new file renamed over the old one.
The person's own known_hosts is read and never written: a host that it knows must show the key it knows.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import fnmatch
import hashlib
import hmac
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from machinectl.errors import ConnectionFailed, HostKeyChanged


@dataclass(frozen=True)
class HostKey:
    kind: str
    """As on the wire: `ssh-ed25519`, `ssh-rsa`, …"""
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` prints it: `SHA256:` and base64 without padding."""
        digest = hashlib.sha256(self.blob).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


@dataclass(frozen=True)
class Entry:
    """One line of a known_hosts file."""

    path: Path
    line: int
    names: tuple[str, ...]
    key: HostKey
    marker: str = ""

    def matches(self, name: str) -> bool:
        """Patterns, negated patterns and hashed names, as sshd(8) says."""
        hit = False
        for pattern in self.names:
            if pattern.startswith("|1|"):
                hit = hit or _hashed_name_matches(pattern, name)
            elif pattern.startswith("!"):
                if _pattern_matches(pattern[1:], name):
                    return False
            else:
                hit = hit or _pattern_matches(pattern, name)
        return hit


def parse_known_hosts(text: str, path: Path) -> Iterator[Entry]:
    """Pure. Lines that are no entry (comments, other formats) are passed over, as ssh does."""
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
        if len(fields) < 3 or fields[0].startswith("#"):
            continue
        try:
            blob = base64.b64decode(fields[2], validate=True)
        except (binascii.Error, ValueError):
            continue
        yield Entry(path, number, tuple(fields[0].split(",")), HostKey(fields[1], blob), marker)


class KnownHosts:
    """What is known about one host under one name; `check` decides, `kinds` says what to ask for first."""

    def __init__(self, name: str, store: Path, personal: Iterable[Path], *, replace: bool = False) -> None:
        self.name = name
        self._store = store
        self._replace = replace
        self._personal = tuple(personal)

    def kinds(self) -> tuple[str, ...]:
        """Types of the keys that we know: another type would look like a changed key."""
        entries = [] if self._replace else [*self._pinned(), *self._personally_known()]
        return tuple(dict.fromkeys(one.key.kind for one in entries))

    def check(self, shown: HostKey, label: str) -> None:
        """Returns where `shown` is the pinned key or is pinned now; raises `HostKeyChanged` otherwise.

        `label` is how messages name the host.
        """
        for one in self._entries(self._personal):
            if one.marker == "@revoked" and one.key == shown and one.matches(self.name):
                raise HostKeyChanged(
                    f"{label} shows a host key that {one.path}, line {one.line}, calls revoked",
                    why=f"its fingerprint is {shown.fingerprint}",
                    hint="do not connect; ask whoever runs the host",
                )
        if self._is_pinned(shown, label):
            return
        with self._lock():
            if not self._is_pinned(shown, label):
                self._pin(shown)

    def compare(self, shown: HostKey, label: str) -> bool:
        """Whether it is pinned; pins nothing. Raises `HostKeyChanged` as `check` does."""
        return self._is_pinned(shown, label)

    def _is_pinned(self, shown: HostKey, label: str) -> bool:
        pinned = self._pinned()
        if any(one.key == shown for one in pinned):
            return True
        if self._replace:
            return False
        known = pinned or self._personally_known()
        if known and not (not pinned and any(one.key == shown for one in known)):
            raise self._changed(shown, known, label)
        return False

    def _changed(self, shown: HostKey, known: list[Entry], label: str) -> HostKeyChanged:
        old = next((one for one in known if one.key.kind == shown.kind), known[0])
        hint = f"if the host was reinstalled: --replace-host-key, or delete line {old.line} of {old.path}"
        if old.path != self._store:
            hint = f"if the host was reinstalled: ssh-keygen -R '{self.name}' -f {old.path}"
        return HostKeyChanged(
            f"{label} shows another host key than before",
            why=f"{old.path}, line {old.line}, has {old.key.fingerprint} ({old.key.kind});"
            f" the host shows {shown.fingerprint} ({shown.kind}). Somebody may be in between",
            hint=hint,
        )

    def _pin(self, key: HostKey) -> None:
        line = f"{self.name} {key.kind} {base64.b64encode(key.blob).decode()}\n"
        old = self._store.read_text(encoding="utf-8") if self._store.exists() else ""
        if self._replace:
            gone = {one.line for one in self._pinned()}
            kept = [one for number, one in enumerate(old.splitlines(), 1) if number not in gone]
            self._rewrite("".join(f"{one}\n" for one in kept) + line)
            return
        if old and not old.endswith("\n"):  # a line that was cut off by a crash must not swallow ours
            line = "\n" + line
        descriptor = os.open(self._store, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, line.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _rewrite(self, text: str) -> None:
        descriptor, name = tempfile.mkstemp(prefix=".known_hosts.", dir=self._store.parent)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(self._store)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        try:
            self._store.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # A file of its own: the lock must outlive a replacement of known_hosts.
            descriptor = os.open(f"{self._store}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)  # held for one small write, so waiting is short
                yield
            finally:
                os.close(descriptor)
        except OSError as error:
            raise ConnectionFailed(
                "the host key can't be pinned", why=f"{self._store}: {error.strerror or error}"
            ) from error

    def _pinned(self) -> list[Entry]:
        return [one for one in self._entries((self._store,)) if not one.marker and one.matches(self.name)]

    def _personally_known(self) -> list[Entry]:
        return [one for one in self._entries(self._personal) if not one.marker and one.matches(self.name)]

    @staticmethod
    def _entries(paths: Iterable[Path]) -> Iterator[Entry]:
        for path in paths:
            try:
                text = path.read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue  # most of the usual files don't exist
            yield from parse_known_hosts(text, path)


def _hashed_name_matches(pattern: str, name: str) -> bool:
    try:
        _, _, salt, digest = pattern.split("|")
        wanted = base64.b64decode(digest)
        actual = hmac.new(base64.b64decode(salt), name.encode(), hashlib.sha1).digest()
    except (ValueError, binascii.Error):
        return False
    return hmac.compare_digest(wanted, actual)


def _pattern_matches(pattern: str, name: str) -> bool:
    if "*" not in pattern and "?" not in pattern:
        return pattern.lower() == name.lower()
    # `[` is an ordinary character here: it stands around a host with a port
    return fnmatch.fnmatchcase(name.lower(), pattern.lower().replace("[", "[[]"))
