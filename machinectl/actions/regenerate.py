"""regenerate-certs: new certificates with new keys, for machines and for the client. Containers go on.

client's (once) ─► each machine: issue ─► agent: files, dockerd restarts ─► it answers with the new one ─► registries
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from machinectl.actions.context import refresh_all_contexts
from machinectl.actions.converge import bring, server_names
from machinectl.actions.fleet import Outcome, on_each
from machinectl.actions.list_machines import WARN_BEFORE, machine_expiry
from machinectl.actions.once import Once
from machinectl.actions.registry.follow import follow
from machinectl.actions.report import Report
from machinectl.actions.wishes import resumed
from machinectl.errors import StoreError
from machinectl.model import Machine
from machinectl.pki.authority import KEY, ensure_authority
from machinectl.pki.expiry import expiry
from machinectl.pki.foreign import authority_folder, ensure_machine
from machinectl.pki.leaves import ensure_client, hand_out_client
from machinectl.remote.become import Become
from machinectl.store.store import Store


@dataclass(frozen=True)
class Renewed:
    """One machine's certificates; both times are those of the one that ends first."""

    before: datetime.datetime | None
    after: datetime.datetime | None
    due: bool
    """It would have ended within 30 days, or had ended."""


def regenerate(
    store: Store, names: Sequence[str], *, client: bool, become: Become, quiet: bool = False
) -> list[Outcome[Renewed]]:
    """In parallel over machines. `client`: this store's client certificate, too, for all of its machines."""
    before = {name: machine_expiry(store.folder(store.load(name).name)) for name in names}
    if client:
        new_client(store)

    def one(name: str) -> Renewed:
        with store.machine_lock(name):
            machine = resumed(store.load(name))
            _issue(store, machine, client=client)
            report = Report(name, quiet=quiet)
            bring(store, machine, become=become, report=report, once=Once(own_certificate=True))
        follow(store, name, become=become, quiet=quiet, new_key=True)
        after = machine_expiry(store.folder(name))
        return Renewed(before[name], after, is_due(before[name]))

    return on_each(names, one)


def due_machines(store: Store) -> list[str]:
    """Machines with a certificate that ends within 30 days."""
    return [name for name in store.names() if is_due(machine_expiry(store.path / "machines" / name))]


def is_due(expires: datetime.datetime | None) -> bool:
    return expires is not None and expires - datetime.datetime.now(datetime.timezone.utc) <= WARN_BEFORE


def new_client(store: Store) -> None:
    """A new client certificate with a new key. Machines that are not asked for take the same one: the old one stays
    good at their engines as well, as it is signed by the same CA."""
    with store.lock():
        authority = ensure_authority(store.certs)
        ensure_client(authority, store.certs, new_key=True)
        for name in store.names():
            try:
                folder = store.folder(name)
            except StoreError:
                continue
            if authority_folder(store.certs, folder) == store.certs and (folder / "cert.pem").exists():
                hand_out_client(authority, folder)
    refresh_all_contexts(store)


def _issue(store: Store, machine: Machine, *, client: bool) -> None:
    """What a run that is killed behind this has issued is brought to the host by the next `provision`."""
    with store.lock():
        folder = store.folder(machine.name)
        home = authority_folder(store.certs, folder)
        if client and home != store.certs and (home / KEY).is_file():
            ensure_client(
                ensure_authority(home), home, new_key=True
            )  # an imported machine has a CA of its own
        ensure_machine(store.certs, folder, server_names(machine), new_key=True)


def client_expiry(store: Store) -> datetime.datetime:
    """Of the store's client certificate. Raises `CertificateError`."""
    return expiry(store.certs / "cert.pem")
