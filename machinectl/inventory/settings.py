"""From an inventory to wishes: the variable `machinectl`, merged over groups and host, checked, templates filled in.

Ansible replaces a variable's whole value by the one of a stronger group. Here a machine's settings are merged key by
key, and maps inside of them by their keys: one group says the mirrors, another one the sysctl settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from machinectl.errors import InventoryError
from machinectl.inventory.connection import connection
from machinectl.inventory.files import file_wishes
from machinectl.inventory.keys import find_key
from machinectl.inventory.located import Vaulted, place_of, vault_refusal
from machinectl.inventory.read import Host, Inventory
from machinectl.inventory.templating import Renderer
from machinectl.inventory.values import Place, engine_wishes, host_wishes
from machinectl.inventory.wish import Wish


def wishes(inventory: Inventory, names: Sequence[str]) -> list[Wish]:
    """In the order of `names`. Raises `InventoryError` with all that is wrong, each with file and line."""
    found, errors = [], []
    renderer = Renderer(inventory)
    for name in names:
        try:
            found.append(_wish(inventory.hosts[name], renderer))
        except InventoryError as error:
            errors.append(error)
    if errors:
        raise _all_errors(errors)
    return found


def _wish(host: Host, renderer: Renderer) -> Wish:
    settings = merged(host, renderer)
    ssh, become = connection(host, renderer)
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
        host=host_wishes(settings, host.name),
        tls_san=tuple(settings.get("tls-san", ((), None))[0]),
        files=file_wishes(settings.get("files", ((), None))[0], host, renderer),
        network=network,
        advertise=advertise,
        etcd=bool(settings.get("etcd", ("etcd" in host.groups, None))[0]),
        context=bool(settings.get("context", (False, None))[0]),
    )


def merged(host: Host, renderer: Renderer) -> dict[str, tuple[Any, Place]]:
    """Setting → value, checked and with its templates filled in, and where it was said last."""
    found: dict[str, tuple[Any, Place]] = {}
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
            key = find_key(written, where)
            if key.name in seen:
                raise InventoryError(f"{where}: {written!r} and {seen[key.name]!r} are the same setting")
            seen[key.name] = written
            checked = key.check(renderer.fill(value, host, where), where)
            before = found.get(key.name)
            if key.merges and before and isinstance(checked, dict):
                checked = {**before[0], **checked}
            found[key.name] = (checked, Place(where))
    return found


def _network(settings: dict[str, tuple[Any, Place]]) -> tuple[bool, str]:
    value, place = settings.get("network", (False, Place("")))
    if isinstance(value, dict):
        unknown = set(value) - {"advertise"}
        if unknown:
            raise InventoryError(f"{place}: `network` has no {unknown.pop()!r}", hint="there is `advertise`")
        return True, str(value.get("advertise", ""))
    return bool(value), ""


def _all_errors(errors: Sequence[InventoryError]) -> InventoryError:
    texts = list(dict.fromkeys(str(one) for one in errors))
    return errors[0] if len(texts) == 1 else InventoryError("\nerror: ".join(texts))
