"""The setting `registry-cas`: which CA signs the certificate of a registry that dockerd talks to."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from machinectl.errors import InventoryError
from machinectl.inventory.entries import MACHINE

BEGIN = "-----BEGIN CERTIFICATE-----"


def registry_cas(values: Mapping[str, str], folders: Sequence[Path], place: Any) -> dict[str, str]:
    """HOST:PORT → PEM, or the name of a machine as it was written. Raises `InventoryError` for a file that is not
    there, and for what is no certificate."""
    return {name: _certificate(name, text, folders, place) for name, text in values.items()}


def is_pem(text: str) -> bool:
    """Not the name of a machine."""
    return BEGIN in text


def pem_problem(text: str) -> str:
    """What is wrong with a file of CA certificates; empty: nothing."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        return f"it holds no certificate that can be read ({getattr(error, 'reason', '') or 'not PEM'})"
    return ""


def _certificate(name: str, text: str, folders: Sequence[Path], place: Any) -> str:
    if is_pem(text):
        return _checked(text, f"{place}: registry-cas: {name}")
    path = Path(os.path.expanduser(text))  # noqa: PTH111 - Path's raises for a user that is not there
    places = (
        [path] if path.is_absolute() else [base / sub / path for base in folders for sub in ("files", ".")]
    )
    for one in places:
        if one.is_file():
            try:
                content = one.read_text(encoding="ascii", errors="replace")
            except OSError as error:
                raise InventoryError(
                    f"{place}: {one} can't be read", why=error.strerror or str(error)
                ) from error
            return _checked(content, f"{place}: registry-cas: {one}")
    if MACHINE.fullmatch(text) and not text.endswith((".pem", ".crt")):
        return text
    looked = ", ".join(str(one) for one in places)
    raise InventoryError(f"{place}: registry-cas: there is no file {text}", why=f"looked at {looked}")


def _checked(text: str, what: str) -> str:
    if problem := pem_problem(text):
        raise InventoryError(f"{what} can't be used", why=problem, hint="a CA's certificate in PEM is wanted")
    return text if text.endswith("\n") else text + "\n"
