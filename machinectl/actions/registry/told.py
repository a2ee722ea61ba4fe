"""Which machines' settings name a machine's registries."""

from __future__ import annotations

import json

from machinectl.actions.registry.access import address_of
from machinectl.errors import StoreError
from machinectl.model import Machine
from machinectl.store.registries import load_registries
from machinectl.store.store import Store


def told_of(store: Store, machine: Machine) -> dict[str, list[str]]:
    """HOST:PORT of each of its registries → the names of the machines that are told of it."""
    places = [address_of(machine, one) for one in load_registries(store, machine.name).values()]
    if not places:
        return {}
    settings = {name: _settings(store, name) for name in store.names()}
    return {place: [name for name, text in settings.items() if place in text] for place in places}


def _settings(store: Store, name: str) -> str:
    """As text; empty where the record is damaged."""
    try:
        machine = store.load(name)
    except StoreError:
        return ""
    return json.dumps([dict(machine.engine), dict(machine.host)], default=str)
