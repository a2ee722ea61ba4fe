"""Client certificates: an SSL context that follows its files."""

from __future__ import annotations

import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Tuple

from machinectl_agent.kv.interface import KvRefused


@dataclass(frozen=True)
class Tls:
    """Paths of PEM files. `ca` empty: the system's CAs; `cert` empty: no client certificate."""

    ca: str
    cert: str = ""
    key: str = ""


class Context:
    """`current()` is made anew when a file has changed: a renewed certificate needs no restart."""

    def __init__(self, tls: Optional[Tls]) -> None:
        self._tls = tls or Tls("")
        self._lock = threading.Lock()
        self._stamp: Tuple[Tuple[int, ...], ...] = ()
        self._made: Optional[ssl.SSLContext] = None

    def current(self) -> ssl.SSLContext:
        """Raises KvRefused where the files can't be used and never could."""
        with self._lock:
            try:
                stamp = self._look()
                if self._made is None or stamp != self._stamp:
                    self._made = self._make()
                    self._stamp = stamp
            except (OSError, ValueError) as error:  # SSLError is an OSError
                # between the writes of a new key and its certificate the two don't match: the next call sees both
                if self._made is None:
                    raise KvRefused(f"the certificates of etcd's client can't be used: {error}") from error
            return self._made

    def _look(self) -> Tuple[Tuple[int, ...], ...]:
        paths = (self._tls.ca, self._tls.cert, self._tls.key)
        found = [Path(one).stat() for one in paths if one]
        return tuple((one.st_mtime_ns, one.st_size, one.st_ino) for one in found)

    def _make(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self._tls.ca:
            context.load_verify_locations(self._tls.ca)
        else:
            context.load_default_certs()
        if self._tls.cert:
            # a key with a passphrase must not ask for it on the terminal of a daemon
            context.load_cert_chain(self._tls.cert, self._tls.key or None, password="")
        return context
