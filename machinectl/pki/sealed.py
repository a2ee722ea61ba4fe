"""Bytes under a passphrase: scrypt (RFC 7914) makes a key of it, ChaCha20-Poly1305 (RFC 8439) seals with that.

    machinectl sealed 1\\n                                     what it is, and the format's version
    {"kdf":"scrypt","n":…,"r":…,"p":…,"salt":…,"nonce":…}\\n    salt and nonce in hexadecimal
    ciphertext and tag

The two lines are authenticated as well. The salt is new for every file, so the key is, and a nonce is never
used twice with one key.
"""

from __future__ import annotations

import json
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from machinectl.errors import MachinectlError

_FIRST = b"machinectl sealed "
VERSION = 1

COST, BLOCK, PARALLEL = 2**17, 8, 1
"""128 MiB and about 0.3 s for each guess (OWASP's Password Storage Cheat Sheet names these as its first choice)."""

_LARGEST = 2**20
"""Of N*r that is accepted: a made-up file must not take all memory. 128 bytes each."""


class SealBroken(MachinectlError):
    """The passphrase is wrong, or the bytes are not what was sealed; nobody can tell which."""

    problem = "seal-broken"


def seal(content: bytes, passphrase: str) -> bytes:
    """Another result at each call."""
    salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
    numbers = {
        "kdf": "scrypt",
        "n": COST,
        "r": BLOCK,
        "p": PARALLEL,
        "salt": salt.hex(),
        "nonce": nonce.hex(),
    }
    head = _FIRST + b"%d\n" % VERSION + json.dumps(numbers, separators=(",", ":")).encode() + b"\n"
    key = Scrypt(salt=salt, length=32, n=COST, r=BLOCK, p=PARALLEL).derive(_bytes(passphrase))
    return head + ChaCha20Poly1305(key).encrypt(nonce, content, head)


def is_sealed(content: bytes) -> bool:
    """Whether it looks like what `seal` makes, of any version."""
    return content.startswith(_FIRST)


def unseal(sealed: bytes, passphrase: str) -> bytes:
    """The reverse. Raises `SealBroken`; `MachinectlError` for what was never sealed, or by a newer version."""
    first, _, rest = sealed.partition(b"\n")
    if not is_sealed(first):
        raise MachinectlError("it is no file that `machinectl export` has made", problem="seal-unknown")
    if first != _FIRST + b"%d" % VERSION:
        raise MachinectlError(
            "a newer machinectl has made it",
            why=f"its format is {first.removeprefix(_FIRST)[:20].decode(errors='replace')}, this one knows {VERSION}",
            hint="upgrade machinectl",
            problem="seal-unknown",
        )
    second, _, ciphertext = rest.partition(b"\n")
    head = first + b"\n" + second + b"\n"
    try:
        numbers = json.loads(second)
        n, r, p = (int(numbers[name]) for name in "nrp")
        if not (0 < n * r <= _LARGEST and 0 < p <= 4):
            raise ValueError("costs out of bounds")  # noqa: TRY301 - one error for all
        salt, nonce = bytes.fromhex(numbers["salt"]), bytes.fromhex(numbers["nonce"])
        key = Scrypt(salt=salt, length=32, n=n, r=r, p=p).derive(_bytes(passphrase))
        return ChaCha20Poly1305(key).decrypt(nonce, ciphertext, head)
    except (InvalidTag, ValueError, KeyError, TypeError, OverflowError) as error:
        raise SealBroken("the passphrase is wrong, or the file is damaged") from error


def _bytes(passphrase: str) -> bytes:
    # what a terminal gives that is no UTF-8 is kept, and the same again the next time
    return passphrase.encode("utf-8", "surrogateescape")
