"""PEM files: read if they are there, written atomically and for their owner only."""

from __future__ import annotations

from pathlib import Path

from machinectl.atomic import write_atomic
from machinectl.errors import CertificateError


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
