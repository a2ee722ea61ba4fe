"""The store's own CA: made once, never replaced behind anybody's back."""

from __future__ import annotations

import datetime
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from machinectl.errors import CertificateError
from machinectl.pki import certificates
from machinectl.pki.pem_files import read_pem, write_pem

CERTIFICATE, KEY = "ca.pem", "ca-key.pem"


@dataclass(frozen=True)
class Authority:
    """The CA of one store, PEM."""

    folder: Path
    """certs/: where the client certificate is, too."""
    certificate: bytes
    key: bytes = field(repr=False)


def ensure_authority(certs: Path) -> Authority:
    """The CA in `certs`, made where there is none. The caller holds the store's lock.

    The key is written before the certificate: a key alone is what a kill between the two leaves, nothing has
    been signed yet, and the certificate is made from it. Everything else that is wrong (certificate without
    key, the two don't match, expired) is not repaired: a new CA would lock the user out of every machine, so
    the CertificateError says what is wrong and leaves the choice to them.
    """
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate, key = read_pem(certs / CERTIFICATE), read_pem(certs / KEY)
    if certificate:
        problem = certificates.authority_problem(certificate, key, now) if key else "its key is missing"
        if problem:
            raise CertificateError(
                f"the CA {certs / CERTIFICATE} can't be used",
                why=problem,
                hint=f"put {CERTIFICATE} and {KEY} back from a backup; or move both away: the next command "
                "makes a new CA, and every machine then needs `machinectl provision`",
            )
        return Authority(certs, certificate, key)
    if not key:
        key = certificates.new_key()
        write_pem(certs / KEY, key)
    certificate = certificates.make_authority(key, secrets.token_hex(4), now)
    write_pem(certs / CERTIFICATE, certificate)
    return Authority(certs, certificate, key)
