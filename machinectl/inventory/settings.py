"""From an inventory to wishes: the variable `machinectl`, merged over groups and host, checked, templates filled in.

Ansible replaces a variable's whole value by the one of a stronger group. Here a machine's settings are merged key by
key, and maps inside of them by their keys: one group says the mirrors, another one the sysctl settings.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from machinectl.errors import InventoryError
from machinectl.inventory.connection import connection
from machinectl.inventory.entries import MACHINE
from machinectl.inventory.faults import Faults
from machinectl.inventory.files import file_wishes
from machinectl.inventory.keys import Key, find_key
from machinectl.inventory.located import Vaulted, place_of, vault_refusal
from machinectl.inventory.read import Host, Inventory
from machinectl.inventory.templating import Renderer
from machinectl.inventory.values import Place, engine_wishes, host_wishes
from machinectl.inventory.wish import FileWish, ImageWish, Wish
from machinectl.model import SshAddress


def wishes(inventory: Inventory, names: Sequence[str]) -> list[Wish]:
    """In the order of `names`. Raises `InventoryError` with all that is wrong, each with file and line."""
    found = []
    faults = Faults()
    renderer = Renderer(inventory)
    for name in names:
        with faults.kept():
            found.append(_wish(inventory.hosts[name], renderer, faults))
    faults.raise_all()
    return found


def _wish(host: Host, renderer: Renderer, faults: Faults) -> Wish:
    if not MACHINE.fullmatch(host.name):
        raise InventoryError(
            f"{host.file}: no machine can be called {host.name!r}",
            why="allowed are letters, digits, - and ., the first one a letter or digit",
            hint=f"give it another name, and `ansible_host: {host.name}`",
        )
    settings = merged(host, renderer, faults)
    ssh, become = SshAddress(host.name), True
    with faults.kept():
        ssh, become = connection(host, renderer)
    files: tuple[FileWish, ...] = ()
    if "files" in settings:
        files = file_wishes(settings.pop("files")[0], host, renderer, faults)
    images: tuple[ImageWish, ...] = ()
    if "images" in settings:
        from machinectl.inventory.images import image_wishes  # noqa: PLC0415 - most inventories have none

        images = image_wishes(settings.pop("images")[0], host, faults)
    network, advertise = _network(settings)
    ip = settings.pop("ip", (ssh.host, Place("")))[0]
    port = settings.pop("engine-port", (2376, Place("")))[0]
    return Wish(
        name=host.name,
        ip=str(ip),
        ssh=ssh,
        become=become,
        engine=engine_wishes(settings, host.folders),
        engine_port=port,
        host=host_wishes(settings, host.name, host.folders),
        tls_san=tuple(settings.get("tls-san", ((), None))[0]),
        files=files,
        images=images,
        network=network,
        advertise=advertise,
        etcd=bool(settings.get("etcd", ("etcd" in host.groups, None))[0]),
        context=bool(settings.get("context", (False, None))[0]),
    )


def merged(host: Host, renderer: Renderer, faults: Faults) -> dict[str, tuple[Any, Place]]:
    """Setting → value, checked and with its templates filled in, and where it was said last."""
    found: dict[str, tuple[Any, Place]] = {}
    for key, said in _said(host, faults).items():
        for value, where in _that_count(key, said):
            with faults.kept():
                checked = key.check(renderer.fill(value, host, where), where)
                if key.merges and key.name in found:
                    checked = {**found[key.name][0], **checked}
                found[key.name] = (checked, Place(where))
    return found


def _said(host: Host, faults: Faults) -> dict[Key, list[tuple[Any, str]]]:
    """What was said of each setting, the weakest first, and where."""
    found: dict[Key, list[tuple[Any, str]]] = {}
    for layer, place in host.layers:
        if layer is None:
            continue
        if isinstance(layer, Vaulted):
            raise vault_refusal("`machinectl`", place)
        if not isinstance(layer, dict):
            raise InventoryError(f"{place}: `machinectl` is a mapping of settings, not {layer!r}")
        seen: dict[str, str] = {}
        for written, value in layer.items():
            where = place_of(layer, written) or place
            with faults.kept():
                key = find_key(written, where)
                if key.name in seen:
                    raise InventoryError(f"{where}: {written!r} and {seen[key.name]!r} are the same setting")
                seen[key.name] = written
                found.setdefault(key, []).append((value, where))
    return found


def _that_count(key: Key, said: Sequence[tuple[Any, str]]) -> list[tuple[Any, str]]:
    """Without what is overruled, of which nothing is filled in: it may want variables that this host has not."""
    if not key.merges:
        return [said[-1]]
    found: list[tuple[Any, str]] = []
    stronger: set[Any] = set()
    for value, where in reversed(said):
        kept = value
        if isinstance(value, dict) and stronger & value.keys():
            kept = copy.copy(value)
            for name in stronger & value.keys():
                del kept[name]
        found.insert(0, (kept, where))
        if isinstance(value, dict):
            stronger |= value.keys()
    return found


def _network(settings: dict[str, tuple[Any, Place]]) -> tuple[bool, str]:
    value, place = settings.get("network", (False, Place("")))
    if isinstance(value, dict):
        unknown = set(value) - {"advertise"}
        if unknown:
            raise InventoryError(f"{place}: `network` has no {unknown.pop()!r}", hint="there is `advertise`")
        advertise = value.get("advertise") or ""
        if not isinstance(advertise, str):
            raise InventoryError(f"{place}: `advertise` is an address or an interface, not {advertise!r}")
        return True, advertise
    return bool(value), ""
