"""volume ls, create, inspect, rm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from machinectl.actions.fleet import Outcome, on_each
from machinectl.actions.volume.ask import ask_volumes
from machinectl.actions.volume.names import VolumeName
from machinectl.errors import MachinectlError
from machinectl.remote.become import Become
from machinectl.store.store import Store


def list_volumes(
    store: Store, machines: Sequence[str], *, size: bool = False, become: Become
) -> list[Outcome[list[dict[str, Any]]]]:
    """Each machine's volumes: name, driver, mountpoint, folder, options, labels, containers, size (bytes or None)."""

    def one(machine: str) -> list[dict[str, Any]]:
        found = ask_volumes(store, machine, {"op": "ls", "size": size}, become=become)
        return [{"machine": machine, **volume} for volume in found["volumes"]]

    return on_each(machines, one)


def inspect_volume(store: Store, volume: VolumeName, *, size: bool, become: Become) -> dict[str, Any]:
    """Docker's document, and Machine, Folder, Containers, Size (bytes or None)."""
    args = {"op": "inspect", "name": volume.name, "size": size}
    return {"Machine": volume.machine, **ask_volumes(store, volume.machine, args, become=become)}


def create_volume(
    store: Store,
    volume: VolumeName,
    *,
    driver: str,
    options: Mapping[str, str],
    labels: Mapping[str, str],
    become: Become,
) -> bool:
    """Whether it was made; one that is there as wished stays. Raises `MachinectlError` where it is another."""
    if volume.is_path and (driver != "local" or options or labels):
        raise MachinectlError(f"{volume} is a folder: it has no driver, options or labels")
    args = {
        "op": "create",
        "name": volume.name,
        "driver": driver,
        "options": dict(options),
        "labels": dict(labels),
    }
    return bool(ask_volumes(store, volume.machine, args, become=become)["created"])


def remove_volume(store: Store, volume: VolumeName, *, force: bool, become: Become) -> bool:
    """Whether there was one. Refused while a container has it."""
    args = {"op": "rm", "name": volume.name, "force": force}
    return bool(ask_volumes(store, volume.machine, args, become=become)["removed"])
