"""When a certificate ends, read without `cryptography`: `ls` asks for every machine and must start fast."""

from __future__ import annotations

import base64
import binascii
import datetime
import re
from pathlib import Path

from machinectl.errors import CertificateError

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
_UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x17, 0x18, 0xA0


def expiry(path: Path) -> datetime.datetime:
    """notAfter of the first certificate in a PEM file, in UTC. Raises CertificateError."""
    try:
        return parse_expiry(path.read_bytes())
    except OSError as error:
        raise CertificateError(f"{path} can't be read", why=error.strerror or str(error)) from error
    except CertificateError as error:
        raise CertificateError(f"{path} holds no certificate", why=error.why) from error


def parse_expiry(pem: bytes) -> datetime.datetime:
    """The same of PEM bytes. RFC 5280, 4.1:

    Certificate ::= SEQUENCE { tbsCertificate SEQUENCE {
        version [0] OPTIONAL, serialNumber, signature, issuer, validity SEQUENCE { notBefore, notAfter }, …
    """
    found = _PEM.search(pem)
    if not found:
        raise CertificateError("no certificate", why="there is no BEGIN CERTIFICATE in it")
    try:
        der = base64.b64decode(found[1])
        _, outer, _ = _element(der, 0)
        _, position, _ = _element(der, outer)
        if der[position] == _VERSION:
            position = _element(der, position)[2]
        for _ in ("serialNumber", "signature", "issuer"):
            position = _element(der, position)[2]
        _, not_before, _ = _element(der, position)
        not_after = _element(der, not_before)[2]
        tag, start, end = _element(der, not_after)
        return _time(tag, der[start:end])
    except (ValueError, IndexError, binascii.Error) as error:
        raise CertificateError("no certificate", why=f"it can't be decoded: {error}") from error


def _element(der: bytes, position: int) -> tuple[int, int, int]:
    """Tag, start of the content and end of the DER element at `position`. X.690, 8.1."""
    tag, length, start = der[position], der[position + 1], position + 2
    if length & 0x80:
        count = length & 0x7F
        length = int.from_bytes(der[start : start + count], "big")
        start += count
    if start + length > len(der):
        raise ValueError("cut off")
    return tag, start, start + length


def _time(tag: int, text: bytes) -> datetime.datetime:
    if tag == _UTC_TIME:  # two digits of the year: 50 to 99 are 19xx (RFC 5280, 4.1.2.5.1)
        text = (b"19" if text[:2] >= b"50" else b"20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("notAfter is no time")
    moment = datetime.datetime.strptime(text.decode("ascii"), "%Y%m%d%H%M%SZ")
    return moment.replace(tzinfo=datetime.timezone.utc)
