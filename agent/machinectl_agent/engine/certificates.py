"""Which certificates dockerd shows and trusts, where several controllers share the machine.

/etc/docker/ca.pem may hold several CAs: dockerd takes clients of each. There is one server certificate; the
others' controllers know who signed it. What a controller knows of the others comes with its wish, and where
that is not what is on the disk it is told so (`tls-shared`), looks, and asks again. Texts are compared, no
certificate is read: that is done by the controller, which has a library for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional, Tuple

from machinectl_agent.engine.daemon_json import CA, CERT, KEY
from machinectl_agent.host import Host
from machinectl_agent.memo import once_per_boot
from machinectl_agent.problems import Problem
from machinectl_agent.spec import Spec

_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True)
class Present:
    """The three files on the disk; None where there is none."""

    ca: Optional[str]
    server: Optional[str]
    key: Optional[str]
    pair: bool
    """Certificate and key belong together: a run may have been killed between the two."""


@dataclass(frozen=True)
class Wanted:
    """The three texts as they should be."""

    ca: str
    server: str
    key: str


def blocks(text: str) -> Tuple[str, ...]:
    """Pure: the certificates of a PEM file, each once; the text itself where it holds none."""
    found = tuple(dict.fromkeys(one.replace("\r", "") for one in _BLOCK.findall(text)))
    return found or ((text.strip(),) if text.strip() else ())


def observe(host: Host) -> Present:
    """Reads the files."""
    server, key = host.read(CERT), host.read(KEY)
    return Present(host.read(CA), server, key, bool(server and key) and _belong_together(host))


def wanted(present: Present, spec: Spec) -> Wanted:
    """Pure. Raises `Problem` `tls-owned`, `tls-shared`."""
    tls = spec.tls
    own = blocks(tls.ca)
    there = blocks(present.ca or "")
    others = tuple(one for one in there if one not in own)
    if not others or spec.take_over:
        return Wanted(tls.ca, tls.server, tls.server_key)
    if len(others) == len(there) and not spec.share:
        raise Problem(
            "tls-owned",
            "this host's engine belongs to another store",
            why=f"{CA} is of another CA; replacing it locks that CA's clients out",
            hint="--share lets both stores use it; --take-over takes it from the other; or use that store"
            " (`machinectl -s DIR`, a copy of it will do)",
        )
    kept = tuple(one for one in others if one not in map(_only, tls.removed))
    news = present.server is not None and present.server not in (tls.server, tls.served)
    if news or set(kept) != set(map(_only, tls.others)):
        raise Problem(
            "tls-shared",
            "another store has changed this host's certificates since this one's last run",
            why=f"{CA} or {CERT} is not what it was",
            hint="run the same command again",
        )
    # the order stays, and so does the file where it trusts whom it should: a change means a restart
    trusted = tuple(dict.fromkeys((*(one for one in there if one in (*kept, *own)), *own)))
    ca = present.ca or "" if trusted == there else "".join(f"{one}\n" for one in trusted)
    if tls.keep and present.pair and present.server == tls.served:
        return Wanted(ca, tls.served, present.key or "")
    return Wanted(ca, tls.server, tls.server_key)


def _only(pem: str) -> str:
    return (*blocks(pem), "")[0]


def _belong_together(host: Host) -> bool:
    # of the key, too, only a hash is kept
    return bool(once_per_boot("pair", (host.read(CERT), host.read(KEY)), lambda: _tried(host)))


def _tried(host: Host) -> str:
    import ssl  # noqa: PLC0415 - 5 ms

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(host.path(CERT), host.path(KEY))
    except (ssl.SSLError, OSError, ValueError):
        return ""
    return "they belong together"
