"""Certificates as pure functions of PEM bytes: no files, no clock of their own.

ECDSA on P-256 everywhere. Every engine that we support (Go's crypto/tls), OpenSSL and Python's ssl take it; a
key is made in well under a millisecond (RSA-2048: about 100 ms), so 20 machines in parallel don't queue.
What a strict verifier wants (RFC 5280; Python 3.13 sets VERIFY_X509_STRICT): BasicConstraints and KeyUsage
critical on the CA, a subject key identifier on everything, an authority key identifier on what the CA signs.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from machinectl.errors import CertificateError

AUTHORITY_LIFETIME = datetime.timedelta(days=3650)
LEAF_LIFETIME = datetime.timedelta(days=825)
"""The most that Apple's and some other TLS stacks accept of a server certificate."""
BACKDATED = datetime.timedelta(hours=1)
"""A host whose clock is behind ours must not find its own certificate 'not yet valid'."""
RENEW_BEFORE = datetime.timedelta(days=30)

# RSA is what docker-machine left in its stores
_PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_ORGANIZATION = "machinectl"
_COMMON_NAME_LIMIT = 64  # characters, RFC 5280 A.1, ub-common-name


@dataclass(frozen=True)
class Usage:
    """What a leaf is for. A server's is for both directions: etcd's gateway connects to its own server with
    the server's certificate and wants clientAuth in it."""

    server: bool

    @property
    def oids(self) -> tuple[x509.ObjectIdentifier, ...]:
        """The extended key usages."""
        client = (ExtendedKeyUsageOID.CLIENT_AUTH,)
        return (ExtendedKeyUsageOID.SERVER_AUTH, *client) if self.server else client


CLIENT = Usage(server=False)
SERVER = Usage(server=True)


def new_key() -> bytes:
    """A private key, PKCS #8 PEM without a passphrase: dockerd and the docker client can't ask for one."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def make_authority(key: bytes, serial_name: str, now: datetime.datetime) -> bytes:
    """A self-signed CA certificate. `serial_name` tells the CAs of two stores apart."""
    private = _load_key(key)
    name = _subject(f"machinectl CA {serial_name}")
    identifier = x509.SubjectKeyIdentifier.from_public_key(private.public_key())
    builder = _builder(name, name, private.public_key(), now, now + AUTHORITY_LIFETIME)
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(identifier, critical=False)
    )
    return builder.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def make_leaf(
    authority: bytes,
    authority_key: bytes,
    key: bytes,
    *,
    common_name: str,
    usage: Usage,
    names: Sequence[str] = (),
    now: datetime.datetime,
) -> bytes:
    """A certificate for `key`'s public half, signed by the CA; ends with the CA at the latest.

    `names` become subject alternative names: IP addresses as such, all else as DNS names.
    """
    ca = _load(authority)
    signer = _load_key(authority_key)
    public = _load_key(key).public_key()
    until = min(now + LEAF_LIFETIME, ca.not_valid_after_utc)
    builder = _builder(_subject(common_name), ca.subject, public, now, until)
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usage.oids), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([general_name(one) for one in names]), critical=False
        )
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def key_problem(key: bytes, certificate: bytes) -> str:
    """Why the two don't belong together (a kill between two writes, a copy gone wrong); empty: they do."""
    try:
        private, public = _load_key(key), _load(certificate).public_key()
    except CertificateError as error:
        return error.what
    return "" if private.public_key() == public else "key and certificate do not belong together"


def leaf_problem(  # noqa: PLR0911 - one return for each reason is the clearest list of them
    authority: bytes,
    certificate: bytes,
    key: bytes,
    *,
    usage: Usage,
    names: Sequence[str] = (),
    now: datetime.datetime,
) -> str:
    """Why the leaf must be issued again; empty: it is good for at least `RENEW_BEFORE`."""
    if problem := key_problem(key, certificate):
        return problem
    leaf, ca = _load(certificate), _load(authority)
    try:
        leaf.verify_directly_issued_by(ca)
    except (InvalidSignature, ValueError, TypeError):
        return "signed by another CA"
    # a leaf ends with its CA: renewing it in the CA's own last days would change nothing
    if leaf.not_valid_after_utc - now < RENEW_BEFORE and leaf.not_valid_after_utc < ca.not_valid_after_utc:
        return f"expires on {leaf.not_valid_after_utc:%Y-%m-%d}"
    if leaf.not_valid_before_utc > now:
        return "not valid yet by this machine's clock"
    if set(_extended_usages(leaf)) != set(usage.oids):
        return "made for another purpose"
    if alternative_names(certificate) != frozenset(map(general_name, names)):
        return "made for other names or addresses"
    return ""


def authority_problem(certificate: bytes, key: bytes, now: datetime.datetime) -> str:
    """Why this can't be our CA; empty: it is one."""
    if problem := key_problem(key, certificate):
        return problem
    ca = _load(certificate)
    try:
        constraints = ca.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return "no CA certificate"
    if not constraints.ca:
        return "no CA certificate"
    return f"expired on {ca.not_valid_after_utc:%Y-%m-%d}" if ca.not_valid_after_utc <= now else ""


def alternative_names(certificate: bytes) -> frozenset[x509.GeneralName]:
    """The subject alternative names of a certificate."""
    try:
        found = _load(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(found.value)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    now: datetime.datetime,
    until: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(until)
    )


def _subject(common_name: str) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANIZATION)]
    if 0 < len(common_name) <= _COMMON_NAME_LIMIT:  # a longer machine name is in the alternative names only
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    return x509.Name(attributes)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def general_name(name: str) -> x509.GeneralName:
    """An address or a DNS name as certificates have it. Raises CertificateError."""
    try:
        # the zone of a link-local address (fe80::1%eth0) is this machine's own affair
        return x509.IPAddress(ipaddress.ip_address(name.strip("[]").split("%", 1)[0]))
    except ValueError:
        pass
    try:
        return x509.DNSName(name if name.isascii() else name.encode("idna").decode("ascii"))
    except (ValueError, UnicodeError) as error:
        raise CertificateError(
            f"{name!r} can't be put into a certificate", why=str(error), hint="check --ip and --tls-san"
        ) from error


def _extended_usages(certificate: x509.Certificate) -> Sequence[x509.ObjectIdentifier]:
    try:
        return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return []


def _load(certificate: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(certificate)
    except ValueError as error:
        raise CertificateError("the file holds no certificate", why=str(error)) from error


def _load_key(key: bytes) -> _PrivateKey:
    try:
        found = serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError):
        # `from None`: parsers quote their input, and this one is a secret
        raise CertificateError("the file holds no private key that can be read") from None
    if not isinstance(found, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
        raise CertificateError("the private key is neither ECDSA nor RSA", why="no other kind is supported")
    return found
