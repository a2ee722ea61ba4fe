"""A machine's registries take over what has changed with their machine: its address, a certificate with a new key."""

from __future__ import annotations

from machinectl.actions.registry.deploy import deploy
from machinectl.pki.leaves import drop_registry
from machinectl.remote.become import Become
from machinectl.store.registries import Registry, load_registries
from machinectl.store.store import Store


def follow(store: Store, name: str, *, become: Become, quiet: bool, new_key: bool = False) -> None:
    """Those that speak TLS; one whose certificate stays good goes on undisturbed. The caller holds no lock."""
    ports = [port for port, one in load_registries(store, name).items() if speaks_tls(one)]
    if not ports:
        return
    if new_key:
        with store.machine_lock(name, wait=30.0), store.lock():
            drop_registry(store.folder(name))
    for port in ports:
        deploy(store, name, {"port": port}, become=become, quiet=quiet)


def speaks_tls(registry: Registry) -> bool:
    """And is there: one that never came up, or is on its way out, is left alone."""
    return registry.state == "ready" and not registry.plain
