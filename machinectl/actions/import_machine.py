"""import: a machine out of an exported file, into this store. Its host is not touched."""

from __future__ import annotations

import base64
import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from machinectl.actions.exported import open_export
from machinectl.errors import MachineExists, StoreError
from machinectl.model import Machine
from machinectl.pki.certificates import authority_problem
from machinectl.pki.pem_files import OWN_AUTHORITY, read_pem
from machinectl.remote.hostkeys import HostKey, KnownHosts
from machinectl.store import files
from machinectl.store.etcd import load_etcd
from machinectl.store.store import Store


@dataclass(frozen=True)
class Imported:
    machine: Machine
    authority: str
    """`same` CA as the store's, `store` (it has become the store's), `own` (kept for this machine), and `own,
    no key`."""
    left: tuple[str, ...] = ()
    """What of the record means nothing here."""
    warning: str = ""


def import_machine(store: Store, source: Path, passphrase: str) -> Imported:
    """Raises before anything has changed: `MachinectlError` (no such file, wrong passphrase, damaged),
    `MachineExists`, `HostKeyChanged`."""
    document = open_export(source, passphrase)
    machine, left = _fitting(Machine.from_json(document["record"]))
    name = machine.name
    authority = _decoded(document["authority"])
    with store.machine_lock(name):
        refuse_present(store, machine)
        hosts = _host_keys(store, document["known_hosts"])
        clear_leftovers(store, name)
        with store.lock():
            place = place_authority(store, name, authority)
        if machine.network and (place != "same" or load_etcd(store) is None):
            left += ("its membership in the other store's networks (it stays as it is on the host)",)
            machine = dataclasses.replace(machine, network={})
        for host, key in hosts:
            host.check(key, name)  # pins it
        write_files(store, machine, _decoded(document["files"]))
    return Imported(machine, place, left)


def clear_leftovers(store: Store, name: str) -> None:
    """What a killed create or import left in the machine's folder, which is no machine's yet."""
    if store.folder(name).is_dir():
        files.remove_folder(store.folder(name))


def write_files(store: Store, machine: Machine, contents: Mapping[str, bytes]) -> None:
    """The machine's folder; its record comes last, as a folder without one is no machine."""
    folder = store.folder(machine.name)
    for one, content in contents.items():
        files.private_folder((folder / one).parent)
        files.write_atomic(folder / one, content)
    store.save(machine)


def refuse_present(store: Store, machine: Machine) -> None:
    """Raises `MachineExists` for a name or an address that the store has."""
    for name in store.names():
        if name == machine.name:
            raise MachineExists(
                f'Docker machine "{name}" already exists',
                hint=f"machinectl rm {name}, if it is to be replaced",
            )
        try:
            other = store.load(name)
        except StoreError:
            continue
        if other.ip == machine.ip and other.engine_port == machine.engine_port:
            raise MachineExists(
                f'the host {machine.ip} is already the machine "{name}"',
                why="two machines on one host would take turns in reconfiguring it",
                hint=f"use {name}, or `machinectl rm {name}` first",
            )


def place_authority(store: Store, name: str, authority: Mapping[str, bytes]) -> str:
    """Puts a machine's CA where it belongs, and says where, see `Imported`. The caller holds the store's lock.

    The first good one with a key becomes the store's; one that differs from the store's is kept for this machine
    alone: its host goes on knowing it."""
    present = read_pem(store.certs / "ca.pem")
    if present == authority["ca.pem"]:
        if "ca-key.pem" in authority and not read_pem(store.certs / "ca-key.pem"):
            files.write_atomic(store.certs / "ca-key.pem", authority["ca-key.pem"])
        return "same"
    now = datetime.datetime.now(datetime.timezone.utc)
    usable = "ca-key.pem" in authority and not authority_problem(
        authority["ca.pem"], authority["ca-key.pem"], now
    )
    if usable and not present and not read_pem(store.certs / "ca-key.pem"):
        home, place = store.certs, "store"
    else:
        home = files.private_folder(store.folder(name) / OWN_AUTHORITY)
        place = "own" if "ca-key.pem" in authority else "own, no key"
    # the CA's certificate last: it is what says that there is one
    for one in sorted(authority, key=lambda one: one == "ca.pem"):
        files.write_atomic(home / one, authority[one])
    return place


def _host_keys(store: Store, pinned: Sequence[Sequence[str]]) -> list[tuple[KnownHosts, HostKey]]:
    """Raises `HostKeyChanged` where this store knows another key."""
    found: dict[str, tuple[KnownHosts, HostKey]] = {}
    for host, kind, blob in pinned:
        known = KnownHosts(host, store.known_hosts, ())
        key = HostKey(kind, base64.b64decode(blob))
        if not known.compare(key, host):
            found.setdefault(host, (known, key))
    return list(found.values())


def _decoded(texts: Mapping[str, str]) -> dict[str, bytes]:
    return {one: base64.b64decode(text) for one, text in texts.items()}


def _fitting(machine: Machine) -> tuple[Machine, tuple[str, ...]]:
    """Without what is true of the other computer only."""
    left: tuple[str, ...] = ()
    if machine.ssh.config:
        left += (f"the SSH configuration {machine.ssh.config} (yours is used)",)
        machine = dataclasses.replace(machine, ssh=dataclasses.replace(machine.ssh, config=""))
    packages = [one for one in machine.engine.get("packages", ()) if not Path(one["path"]).is_file()]
    if packages:
        left += ("the package files that its engine was installed from",)
        engine = {key: value for key, value in machine.engine.items() if key != "packages"}
        machine = dataclasses.replace(machine, engine=engine)
    return dataclasses.replace(machine, inventory=""), left
