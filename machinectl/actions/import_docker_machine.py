"""import --docker-machine: the machines of a docker-machine store, with their certificates, CA and SSH keys.

That store is only read, and no host is touched: its engine goes on trusting the CA that it knows.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from machinectl.actions.fleet import Outcome
from machinectl.actions.import_machine import (
    Imported,
    clear_leftovers,
    place_authority,
    refuse_present,
    write_files,
)
from machinectl.errors import MachinectlError, StoreError, UsageError
from machinectl.model import Machine
from machinectl.pki.collection import matching_authority
from machinectl.pki.expiry import parse_expiry
from machinectl.pki.pem_files import read_pem
from machinectl.store.docker_machine import NEWEST, from_docker_machine, key_inside
from machinectl.store.paths import portable_path
from machinectl.store.records import is_name, natural_order
from machinectl.store.store import Store


def import_docker_machine(store: Store, source: Path, names: Sequence[str]) -> list[Outcome[Imported]]:
    """`source` has `machines/` in it; `names`: none means all. One after the other: the first CA becomes the store's.

    Raises `UsageError` for what is no such store, and for a name that is not in it."""
    folder = source / "machines"
    if not folder.is_dir():
        raise UsageError(
            f"{source} is no docker-machine store",
            why="it has no folder machines",
            hint="~/.docker/machine is one",
        )
    if folder.resolve() == (store.path / "machines").resolve():
        raise UsageError(
            f"{source} is the store that is in use",
            why="its machines need no import: docker-machine's records are read as they are",
        )
    there = [one.parent.name for one in folder.glob("*/config.json") if is_name(one.parent.name)]
    unknown = [name for name in names if name not in there]
    if unknown:
        raise UsageError(
            f"{source} has no machine {unknown[0]!r}", hint=f"it has {', '.join(sorted(there)) or 'none'}"
        )
    outcomes: list[Outcome[Imported]] = []
    for name in names or sorted(there, key=natural_order):
        try:
            outcomes.append(Outcome(name, result=_import(store, source, name)))
        except MachinectlError as error:
            error.machine = error.machine or name
            outcomes.append(Outcome(name, error=error))
    return outcomes


def _import(store: Store, source: Path, name: str) -> Imported:
    folder = source / "machines" / name
    document = _read(folder / "config.json")
    machine, left = _machine(document, folder)
    key, contents = _ssh_key(store, source, name, document)
    if machine.ssh.key and not key:
        left.append(
            f"its SSH key {machine.ssh.key}, which is not there (ssh-agent and your own keys are tried)"
        )
    machine = dataclasses.replace(machine, ssh=dataclasses.replace(machine.ssh, key=key))
    server = read_pem(folder / "server.pem")
    authority = _authority(source, folder, document, server)
    contents.update({one: authority[one] for one in ("ca.pem", "cert.pem", "key.pem")})
    if server and read_pem(folder / "server-key.pem"):
        contents.update({"server.pem": server, "server-key.pem": read_pem(folder / "server-key.pem")})
    with store.machine_lock(name):
        refuse_present(store, machine)
        clear_leftovers(store, name)
        with store.lock():
            place = place_authority(store, name, authority)
        write_files(store, machine, contents)
    return Imported(machine, place, tuple(left), _warning(authority["ca.pem"], name))


def _read(path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
        version = int(document.get("ConfigVersion") or 0)
    except OSError as error:
        raise StoreError(f"{path} can't be read", why=error.strerror or str(error)) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} is damaged", why=str(error)) from error
    if version > NEWEST:
        raise StoreError(
            f"{path} is of a docker-machine that nobody knows", why=f"its ConfigVersion is {version}"
        )
    return document


def _machine(document: dict[str, Any], folder: Path) -> tuple[Machine, list[str]]:
    try:
        record, left = from_docker_machine(document, folder.name)
        machine = Machine.from_json(record)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(
            "its record can't be taken over",
            why=f"{folder / 'config.json'}: {error or type(error).__name__}",
            hint=f"`machinectl create --ip ADDRESS {folder.name}` takes the host itself",
        ) from error
    driver = str(document.get("DriverName") or "generic")
    if driver != "generic":
        left.append(
            f"the driver {driver}: starting, stopping and removing the virtual machine stays its own affair"
        )
    made = datetime.datetime.fromtimestamp((folder / "config.json").stat().st_mtime, datetime.timezone.utc)
    return dataclasses.replace(machine, created=made.isoformat(timespec="seconds")), left


def _ssh_key(store: Store, source: Path, name: str, document: dict[str, Any]) -> tuple[str, dict[str, bytes]]:
    """The path for our record, and the file for our folder where the key was in docker-machine's store."""
    recorded = str(document["Driver"].get("SSHKeyPath") or "")
    inside = key_inside(recorded)
    # without a path it is id_rsa in the machine's folder (libmachine/drivers.BaseDriver.GetSSHKeyPath)
    for path in (source / inside if inside != recorded else None, source / "machines" / name / "id_rsa"):
        content = read_pem(path) if path else b""
        if path and content:
            # docker-machine calls every key id_rsa, whatever its kind
            return f"machines/{name}/ssh_key", {"ssh_key": content}
    if recorded and Path(recorded).is_file():
        return portable_path(recorded, store.path), {}
    return "", {}


def _authority(source: Path, folder: Path, document: dict[str, Any], server: bytes) -> dict[str, bytes]:
    """Paths in the record are absolute, of wherever the store was then: the files beside it come first."""
    auth = (document.get("HostOptions") or {}).get("AuthOptions") or document
    certs = source / "certs"
    recorded = {
        field: str(auth.get(field) or "") for field in ("CaCertPath", "ClientCertPath", "ClientKeyPath")
    }
    ca_key = str(auth.get("CaPrivateKeyPath") or auth.get("PrivateKeyPath") or "")
    try:
        return matching_authority(
            [read_pem(folder / "ca.pem"), read_pem(certs / "ca.pem"), _elsewhere(recorded["CaCertPath"])],
            [read_pem(certs / "ca-key.pem"), _elsewhere(ca_key)],
            [
                (read_pem(folder / "cert.pem"), read_pem(folder / "key.pem")),
                (read_pem(certs / "cert.pem"), read_pem(certs / "key.pem")),
                (_elsewhere(recorded["ClientCertPath"]), _elsewhere(recorded["ClientKeyPath"])),
            ],
            server,
        )
    except MachinectlError as error:
        error.hint = f"`machinectl create --ip ADDRESS --take-over {folder.name}` gives the host new ones"
        raise


def _elsewhere(path: str) -> bytes:
    try:
        return Path(path).read_bytes() if path and Path(path).is_file() else b""
    except OSError:
        return b""


def _warning(ca: bytes, name: str) -> str:
    end = parse_expiry(ca)
    if end > datetime.datetime.now(datetime.timezone.utc):
        return ""
    return (
        f"its CA expired on {end:%Y-%m-%d}, no client gets in any more; "
        f"`machinectl provision --take-over {name}` gives the host this store's CA"
    )
