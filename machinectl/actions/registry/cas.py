"""CAs of registries as a machine is to know them: PEM files, and those of this store's own registries."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from machinectl.errors import UsageError
from machinectl.inventory.entries import WrongError, check_key
from machinectl.inventory.registry_cas import is_pem, registry_cas
from machinectl.model import Machine
from machinectl.store.records import CONFIG

SETTING = "registry_cas"
"""In `Machine.host`."""


def resolved(store: Path, cas: Mapping[str, str]) -> dict[str, str]:
    """HOST:PORT → PEM, a machine's name becoming the CA of this store. Raises `UsageError` for no such machine."""
    return {place: one if is_pem(one) else _of_machine(store, place, one) for place, one in cas.items()}


def _of_machine(store: Path, place: str, name: str) -> str:
    authority = store / "certs/ca.pem"
    if not (store / "machines" / name / CONFIG).is_file() or not authority.is_file():
        raise UsageError(
            f"registry-cas: {place}: {name} is neither a file nor a machine of this store",
            hint=f"`machinectl create` and `registry deploy {name}` first, or name a PEM file",
        )
    return authority.read_text()


def parse_assignments(texts: Sequence[str], store: Path) -> dict[str, str]:
    """Of `--registry-ca HOST:PORT=FILE|MACHINE`; an empty value takes a CA away. Raises `UsageError`."""
    found: dict[str, str] = {}
    for text in texts:
        place, equals, value = text.partition("=")
        try:
            check_key("registry-cas", place)
        except WrongError as error:
            raise UsageError(f"--registry-ca: {error}", hint=error.hint) from error
        if not equals:
            raise UsageError(f"--registry-ca {text}: HOST:PORT=FILE is wanted")
        found[place] = value
    given = registry_cas({place: one for place, one in found.items() if one}, [Path.cwd()], "--registry-ca")
    return {**dict.fromkeys(found, ""), **resolved(store, given)}


def with_cas(machine: Machine, cas: Mapping[str, str]) -> Machine:
    """The machine with further CAs, and without those that are empty here."""
    if not cas:
        return machine
    merged = {place: one for place, one in {**machine.host.get(SETTING, {}), **cas}.items() if one}
    host = {key: one for key, one in machine.host.items() if key != SETTING}
    return dataclasses.replace(machine, host={**host, SETTING: merged} if merged else host)
