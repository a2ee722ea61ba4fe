"""export: one machine with its certificates as one encrypted file."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path

from machinectl.actions.exported import AUTHORITY, FILE, FORMAT
from machinectl.atomic import write_atomic
from machinectl.errors import MachinectlError, StoreError, UsageError
from machinectl.model import Machine
from machinectl.pki.pem_files import authority_folder
from machinectl.pki.sealed import seal
from machinectl.remote.deadline import Deadline
from machinectl.remote.hostkeys import parse_known_hosts
from machinectl.remote.sshconfig import plan_hops
from machinectl.store.store import Store


@dataclass(frozen=True)
class Exported:
    """What is in the file, and what the other side needs besides."""

    with_ca: bool
    ssh_key: str
    """The private key that is not in it, as the store names it; empty: ssh-agent, ~/.ssh/config or a default."""


def export_machine(store: Store, name: str, target: Path, passphrase: str, *, with_ca: bool) -> Exported:
    """Writes `target`, 0600, which must not be there. Raises `UsageError` (it is there), `StoreError`,
    `MachinectlError` (no certificates yet, no CA key)."""
    if target.exists():
        raise UsageError(f"{target} is there already", hint="name another file, or remove that one")
    with store.machine_lock(name, wait=30.0):
        machine = store.load(name)
        folder = store.folder(name)
        home = authority_folder(store.certs, folder)
        authority = {one: _encoded(home / one) for one in AUTHORITY if (home / one).is_file()}
        document = {
            "format": FORMAT,
            "name": name,
            "record": machine.to_json(),
            "files": {one: _encoded(folder / one) for one in _files(folder)},
            "authority": authority,
            "known_hosts": _host_keys(store, machine),
        }
    if machine.state != "ready" or set(authority) != set(AUTHORITY):
        raise MachinectlError(
            "the machine has no certificates yet", hint=f"machinectl provision {name}", machine=name
        )
    if with_ca:
        key = home / "ca-key.pem"
        if not key.is_file():
            raise MachinectlError("the key of the machine's CA is not in this store", machine=name)
        authority["ca-key.pem"] = _encoded(key)
    write_atomic(target, seal(json.dumps(document).encode(), passphrase), 0o600)
    return Exported(with_ca, "" if (store.path / machine.ssh.key).is_relative_to(folder) else machine.ssh.key)


def _files(folder: Path) -> list[str]:
    found = [one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file()]
    return sorted(one for one in found if FILE.fullmatch(one))


def _encoded(path: Path) -> str:
    try:
        return base64.b64encode(path.read_bytes()).decode()
    except OSError as error:
        raise StoreError(f"{path} can't be read", why=error.strerror or str(error)) from error


def _host_keys(store: Store, machine: Machine) -> list[tuple[str, str, str]]:
    """The pinned keys of the machine and of its jump hosts: name, kind, base64."""
    hops = plan_hops(machine.ssh, Deadline(15.0), base=store.path)
    try:
        text = store.known_hosts.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [
        (hop.known_as, one.key.kind, base64.b64encode(one.key.blob).decode())
        for hop in hops
        for one in parse_known_hosts(text, store.known_hosts)
        if not one.marker and one.matches(hop.known_as)
    ]
