"""A certificate's end, without a library for certificates (X.509: RFC 5280, 4.1; DER: X.690, 8.1)."""

from __future__ import annotations

import datetime
import ssl
from typing import Tuple

_CONTEXT_0, _UTC_TIME = 0xA0, 0x17


def not_after(pem: str) -> float:
    """Seconds since 1970. Raises ValueError or IndexError for what is no certificate."""
    der = ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN CERTIFICATE") :].strip().split("\n\n")[0])
    _, start, _ = _open(der, 0)
    _, at, _ = _open(der, start)
    tag, _, after = _open(der, at)
    if tag == _CONTEXT_0:  # the version; left out in version 1
        at = after
    for _ in range(3):  # serial number, signature algorithm, issuer
        _, _, at = _open(der, at)
    _, at, _ = _open(der, at)
    _, _, at = _open(der, at)
    tag, first, last = _open(der, at)
    text = der[first:last].decode("ascii")
    if tag == _UTC_TIME:
        text = ("20" if int(text[:2]) < 50 else "19") + text  # RFC 5280, 4.1.2.5.1
    moment = datetime.datetime.strptime(text, "%Y%m%d%H%M%SZ")
    return moment.replace(tzinfo=datetime.timezone.utc).timestamp()


def _open(der: bytes, at: int) -> Tuple[int, int, int]:
    """Tag, where the content begins, where the next element begins."""
    length, start = der[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length, start = int.from_bytes(der[start : start + size], "big"), start + size
    return der[at], start, start + length
