"""A machine that several stores work with: whose CAs its engine trusts, and whose server certificate it shows.

    machines/NAME/ca.pem        this store's CA first, then the others that the host trusts: whoever of them has
                                signed the server's certificate, our clients accept it
    machines/NAME/served.pem    the server certificate that the host showed last, where another store made it

Both are what the host was seen to have; `server.pem` stays this store's own, ready for when it is needed.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from machinectl.pki.certificates import alternative_names, general_name
from machinectl.pki.pem_files import read_pem, write_pem

FOREIGN_MARGIN = datetime.timedelta(days=10)
"""Another store renews its certificate 30 days ahead; only where it has not done so by then, ours takes its place."""

_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True)
class Shared:
    """What is known of the other stores. PEM; empty for a machine that is this store's alone."""

    others: tuple[bytes, ...] = ()
    served: bytes = b""
    """The host's server certificate, where it is another store's; `served_problem` says whether it may stay."""


@dataclass(frozen=True)
class Trusted:
    """One CA that a host trusts, for people."""

    identity: str
    """16 hexadecimal digits of its SHA-256 fingerprint."""
    name: str
    expires: datetime.datetime
    own: bool
    """This store's."""
    signs: bool
    """It has signed the server certificate that the host shows."""


def blocks(pem: bytes) -> tuple[bytes, ...]:
    """The certificates of a PEM file, each once, without what is between them."""
    return tuple(dict.fromkeys(one.replace(b"\r", b"") + b"\n" for one in _BLOCK.findall(pem)))


def read_shared(folder: Path, own: bytes) -> Shared:
    """`folder`: the machine's; `own`: the CA that its certificates here are made by."""
    # the first one is ours, or was: a store that has a new CA does not go on trusting its old one
    _, *known = blocks(read_pem(folder / "ca.pem")) or (b"",)
    others = tuple(one for one in known if one not in blocks(own))
    return Shared(others, read_pem(folder / "served.pem") if others else b"")


def render_ca(own: bytes, others: Sequence[bytes]) -> bytes:
    """The machine's ca.pem. Ours alone stays byte for byte what it is."""
    return own + b"".join(others)


def seen(folder: Path, own: bytes, ca: bytes, server: bytes) -> Shared:
    """What the host's files say (`ca` and `server`). Writes nothing."""
    others = tuple(one for one in blocks(ca) if one not in blocks(own))
    foreign = bool(others) and server != read_pem(folder / "server.pem")
    return Shared(others, server if foreign else b"")


def remember(folder: Path, own: bytes, known: Shared) -> None:
    """Nothing is written where nothing has changed. Raises StoreError."""
    content, file = render_ca(own, known.others), folder / "served.pem"
    if read_pem(folder / "ca.pem") != content:
        write_pem(folder / "ca.pem", content)
    if not known.served:
        file.unlink(missing_ok=True)
    elif read_pem(file) != known.served:
        write_pem(file, known.served)


def served_problem(known: Shared, names: Sequence[str], now: datetime.datetime) -> str:
    """Why another store's server certificate is not good for us; empty: it is. Pure."""
    try:
        leaf = x509.load_pem_x509_certificate(known.served)
    except ValueError:
        return "there is none"
    if not any(_signed(leaf, one) for one in known.others):
        return "none of the other stores has signed it"
    if leaf.not_valid_after_utc - now < FOREIGN_MARGIN:
        return f"expires on {leaf.not_valid_after_utc:%Y-%m-%d}"
    lacking = [one for one in names if general_name(one) not in alternative_names(known.served)]
    return f"it is not for {', '.join(lacking)}" if lacking else ""


def names_kept(folder: Path, names: Sequence[str]) -> tuple[str, ...]:
    """What this store's certificate for a shared machine is for: also the names that it, or the one that the host
    shows, has already: other stores' clients go by them."""
    found = list(names)
    if len(blocks(read_pem(folder / "ca.pem"))) > 1:
        for file in ("served.pem", "server.pem"):
            pem = read_pem(folder / file)
            found += [str(one.value) for one in alternative_names(pem)] if blocks(pem) else []
    return tuple(dict.fromkeys(found))


def describe(ca: bytes, server: bytes, own: bytes) -> list[Trusted]:
    """Every CA in the host's file, in its order."""
    leaf = x509.load_pem_x509_certificate(server) if blocks(server) else None
    found = []
    for one in blocks(ca):
        certificate = x509.load_pem_x509_certificate(one)
        subject = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        found.append(
            Trusted(
                identity=identity(one),
                name=str(subject[0].value) if subject else certificate.subject.rfc4514_string(),
                expires=certificate.not_valid_after_utc,
                own=one in blocks(own),
                signs=leaf is not None and _signed(leaf, one),
            )
        )
    return found


def identity(pem: bytes) -> str:
    """16 hexadecimal digits of a certificate's SHA-256 fingerprint, as `openssl x509 -fingerprint` has them."""
    return x509.load_pem_x509_certificate(pem).fingerprint(hashes.SHA256()).hex()[:16]


def _signed(leaf: x509.Certificate, authority: bytes) -> bool:
    try:
        leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(authority))
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True
