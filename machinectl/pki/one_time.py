"""Certificates for one connection between two machines: made here, known only to its ends, good for nothing else."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SKEW = datetime.timedelta(days=1)
"""Hosts' clocks may be wrong; the connection's own end comes within minutes, when its listener goes."""


@dataclass(frozen=True)
class OneTime:
    """One end's certificate and key, and the only certificate that it takes from the other."""

    certificate: str
    key: str = field(repr=False)
    peer: str = ""

    def to_json(self) -> dict[str, str]:
        """As machinectl_agent.files.direct reads it."""
        return {"certificate": self.certificate, "key": self.key, "peer": self.peer}


def make_pair() -> tuple[OneTime, OneTime]:
    """The two ends of one connection, self-signed: nobody signs a third."""
    one, other = _make(), _make()
    return OneTime(one[0], one[1], other[0]), OneTime(other[0], other[1], one[0])


def _make() -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    # a name of its own: OpenSSL finds a trust anchor by name before it compares anything else
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"machinectl carry {serial:x}"[:64])])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - SKEW)
        .not_valid_after(now + SKEW)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
    )
