"""Machines that are to use a registry of ours: the settings that their engines need for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from machinectl.actions.provision import Change, provision
from machinectl.actions.registry.access import address_of, url_of
from machinectl.actions.registry.cas import with_cas
from machinectl.actions.report import Report
from machinectl.model import Machine
from machinectl.remote.become import Become
from machinectl.store.registries import Registry
from machinectl.store.store import Store


def use_on(
    store: Store, names: Sequence[str], machine: Machine, registry: Registry, *, become: Become, quiet: bool
) -> None:
    """A mirror becomes one of their mirrors, plain HTTP is allowed, and the CA of TLS is known. Raises as
    `provision` does."""
    address = address_of(machine, registry)
    options: dict[str, Any] = {}
    if registry.upstream:
        options["registry-mirrors"] = [url_of(machine, registry)]
    elif registry.plain:
        options["insecure-registries"] = [address]
    cas = {} if registry.plain else {address: (store.path / "certs/ca.pem").read_text()}
    for name in names:
        if store.load(name).inventory:
            Report(name, quiet=quiet).line(
                "it is in an inventory: the next `machinectl apply` takes this back, unless it is said there"
            )
    change = Change({"options": options} if options else {}, edit=lambda one: with_cas(one, cas))
    provision(store, names, change, become=become, quiet=quiet)
