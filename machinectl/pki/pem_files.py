"""PEM files: read if they are there, written atomically and for their owner only."""

from __future__ import annotations

from pathlib import Path

from machinectl.atomic import write_atomic
from machinectl.errors import CertificateError

OWN_AUTHORITY = "authority"
"""In a machine's folder: the CA of the store that the machine came from, see foreign.py."""


def authority_folder(certs: Path, folder: Path) -> Path:
    """Where the machine's CA is: in its own folder, else in the store's `certs`. Touches nothing."""
    own = folder / OWN_AUTHORITY
    return own if (own / "ca.pem").is_file() else certs


def read_pem(path: Path) -> bytes:
    """The content; empty where there is no file. Raises CertificateError where it can't be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise CertificateError(f"{path} can't be read", why=error.strerror or str(error)) from error


def write_pem(path: Path, content: bytes) -> None:
    """0600 from the first byte on. Raises StoreError (disk full, not writable)."""
    write_atomic(path, content, 0o600)
