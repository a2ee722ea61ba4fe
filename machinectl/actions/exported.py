"""The document inside an exported file, and what of it is believed.

format, name, record (config.json), files (name → base64), authority (the CA's and the client's, the same
way), known_hosts ([name, kind, base64] each)
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from machinectl.errors import MachinectlError
from machinectl.model import Machine
from machinectl.pki.sealed import SealBroken, is_sealed, unseal
from machinectl.store import records
from machinectl.store.migrations import migrate

FORMAT = 1

LARGEST = 512 * 1024 * 1024
"""Bytes of a file that is read at all."""

FILE = re.compile(r"(?!etcd-)[a-z][a-z0-9_-]*(\.pem)?|files/[0-9a-f]{64}")
"""What goes into a file and may come out of one: certificates, keys, contents, and nothing outside the folder.
Certificates for etcd are a store's own affair, and made again when they are needed."""

AUTHORITY = ("ca.pem", "cert.pem", "key.pem")
"""The CA's certificate and the client's; the CA's key, ca-key.pem, may be with them."""


def open_export(source: Path, passphrase: str) -> dict[str, Any]:
    """The document, checked. Raises `MachinectlError`, one for all that can be wrong with the content."""
    content = check_sealed(source)
    try:
        document: dict[str, Any] = json.loads(unseal(content, passphrase))
    except SealBroken as error:
        raise MachinectlError(
            f"{source} can't be opened: {error.what}",
            hint="type the passphrase again; if it is right, get the file once more",
            problem=error.problem,
        ) from error
    except MachinectlError as error:
        error.what = f"{source} can't be opened: {error.what}"
        raise
    try:
        if document["format"] != FORMAT:
            raise MachinectlError(f"{source} is of a newer machinectl", hint="upgrade machinectl")
        document["record"] = migrate(document["record"], str(source))
        Machine.from_json(document["record"])
        _check(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MachinectlError(f"{source} holds no machine", why=f"{type(error).__name__}: {error}") from error
    return document


def check_sealed(source: Path) -> bytes:
    """The file's content. Raises `MachinectlError` where it is none that `export` has made."""
    try:
        if source.stat().st_size > LARGEST:
            raise MachinectlError(f"{source} is too large to be an exported machine")
        content = source.read_bytes()
    except OSError as error:
        raise MachinectlError(f"{source} can't be read", why=error.strerror or str(error)) from error
    if not is_sealed(content):
        raise MachinectlError(
            f"{source} can't be opened: it is no file that `machinectl export` has made",
            problem="seal-unknown",
        )
    return content


def _check(document: Mapping[str, Any]) -> None:
    """Whoever knows the passphrase may have made the file: nothing in it leads out of the machine's folder."""
    if not records.is_name(document["name"]) or document["record"]["name"] != document["name"]:
        raise ValueError("the machine's name is none")
    for one, text in [*document["files"].items(), *document["authority"].items()]:
        if not FILE.fullmatch(one):
            raise ValueError(f"{one!r} is no file of a machine's")
        base64.b64decode(text, validate=True)
    if not {*AUTHORITY} <= {*document["authority"]} <= {*AUTHORITY, "ca-key.pem"}:
        raise ValueError("its certificates are not complete")
    for host, kind, blob in document["known_hosts"]:
        if any(not sign.isprintable() or sign.isspace() for sign in host + kind):
            raise ValueError("a host key's name is none")
        base64.b64decode(blob, validate=True)
