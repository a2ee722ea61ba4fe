"""registry undeploy: the registry goes, its images stay unless they are not wanted any more."""

from __future__ import annotations

import dataclasses

from machinectl.actions.registry.access import find_registry
from machinectl.actions.registry.asking import ask
from machinectl.actions.registry.deploy import controller_of
from machinectl.actions.report import Report
from machinectl.pki.authority import ensure_authority
from machinectl.pki.leaves import drop_registry
from machinectl.remote.become import Become
from machinectl.store.registries import forget_registry, load_registries, save_registry
from machinectl.store.store import Store


def undeploy(store: Store, place: str, *, purge: bool, become: Become, quiet: bool = False) -> str:
    """The folder of its images. A run that was killed is finished by the next one."""
    name = find_registry(store, place)[0].name
    with store.machine_lock(name, wait=30.0):
        machine, registry = find_registry(store, place)
        save_registry(store, name, dataclasses.replace(registry, state="leaving"))
        with store.lock():
            controller = controller_of(ensure_authority(store.certs))
        spec = {
            "port": registry.port,
            "storage": registry.storage,
            "absent": True,
            "purge": purge,
            "controller": controller,
        }
        report = Report(name, quiet=quiet)
        result = ask(store, machine, "deploy", {"registry": spec}, become=become, report=report)
        forget_registry(store, name, registry.port)
        if all(one.plain for one in load_registries(store, name).values()):
            with store.lock():
                drop_registry(store.folder(name))
    return str(result["storage"])
