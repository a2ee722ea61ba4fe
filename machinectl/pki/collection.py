"""Which of many PEM files belong together: docker-machine's stores have several copies, not all of one CA
(its creates in parallel each make one). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from machinectl.errors import CertificateError
from machinectl.pki.certificates import key_problem

Pair = tuple[bytes, bytes]
"""Certificate and key."""


def matching_authority(
    cas: Sequence[bytes], ca_keys: Sequence[bytes], clients: Sequence[Pair], server: bytes
) -> dict[str, bytes]:
    """ca.pem, cert.pem, key.pem, and ca-key.pem where it is among them: the CA that has signed `server`, the first
    one where there is no server certificate. Raises CertificateError where the CA or the client's is missing."""
    ca = next((one for one in _filled(cas) if not server or signed(server, one)), b"")
    if not ca:
        raise CertificateError(
            "its server certificate was signed by none of the CAs in this store"
            if cas
            else "there is no CA certificate",
        )
    client = next((one for one in clients if all(one) and signed(one[0], ca) and _pair(*one)), None)
    if client is None:
        raise CertificateError("there is no client certificate by the machine's CA")
    found = {"ca.pem": ca, "cert.pem": client[0], "key.pem": client[1]}
    key = next((one for one in _filled(ca_keys) if _pair(ca, one)), b"")
    return {**found, "ca-key.pem": key} if key else found


def signed(certificate: bytes, ca: bytes) -> bool:
    """Whether `ca` has signed it; what is no certificate was signed by nobody."""
    try:
        leaf, issuer = x509.load_pem_x509_certificate(certificate), x509.load_pem_x509_certificate(ca)
        leaf.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _pair(certificate: bytes, key: bytes) -> bool:
    return not key_problem(key, certificate)


def _filled(pems: Iterable[bytes]) -> list[bytes]:
    return [one for one in pems if one]
