"""What the inventory wants and what the store remembers, side by side."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machinectl.actions.network.membership import is_member, joining, leaving
from machinectl.actions.registry.cas import resolved
from machinectl.actions.wishes import new_machine, package_files
from machinectl.errors import MachineExists, MachineNotFound, StoreError, UsageError
from machinectl.inventory.wish import FileWish, ImageWish, Wish
from machinectl.model import Machine
from machinectl.store.paths import portable_path
from machinectl.store.store import Store

REMEMBERED = ("created", "state", "login", "engine_version", "os", "network", "pending", "moved_from")
"""What a machine keeps whatever the inventory says."""


@dataclass(frozen=True)
class Target:
    """One machine of the inventory."""

    name: str
    present: Machine | None
    """As the store has it."""
    wanted: Machine
    """As the inventory wants it; its membership in the networks too."""
    contents: Mapping[str, bytes]
    """SHA-256 → what is in its files."""
    become: str = "auto"
    """Mode of `Become`."""
    context: bool = False
    """An entry of `docker context` is kept for it."""

    @property
    def moves(self) -> bool:
        """It is a machine already, and has another address now; or such a move was cut off."""
        present = self.present
        return bool(
            present and present.state == "ready" and (present.ip != self.wanted.ip or present.moved_from)
        )

    @property
    def joins(self) -> bool:
        """It becomes a member of the networks."""
        before = self.present.network.get("state") if self.present else None
        return self.wanted.network.get("state") == "joining" and before != "member"


def targets(store: Store, wishes: Sequence[Wish], inventory: str) -> list[Target]:
    """In the inventory's order. Raises `UsageError` and `MachineExists` before anything changes."""
    remembered = _remembered(store)
    found = []
    for wish in wishes:
        present = remembered.get(wish.name)
        machine = _machine(wish, inventory, Path(store.path))
        if present:
            kept = {name: getattr(present, name) for name in REMEMBERED}
            machine = dataclasses.replace(machine, **kept)
        machine = _with_network(machine, wish)
        contents = {_sha256(one): one.content for one in wish.files}
        found.append(
            Target(wish.name, present, machine, contents, "auto" if wish.become else "none", wish.context)
        )
    _check_addresses(found, remembered)
    return found


def left_behind(store: Store, inventory: str, names: Sequence[str]) -> list[str]:
    """Machines that this inventory had at an earlier apply and has no more."""
    return [
        name for name, one in _remembered(store).items() if one.inventory == inventory and name not in names
    ]


def inventory_name(store: Store, paths: Sequence[Path]) -> str:
    """What a machine remembers of the inventory that it is in: it is the same for every user of the store."""
    return ", ".join(portable_path(str(path.expanduser().absolute()), store.path) for path in paths)


def _remembered(store: Store) -> dict[str, Machine]:
    """Damaged records are left out; a wish for one of them is refused where it is saved."""
    found = {}
    for name in store.names():
        try:
            found[name] = store.load(name)
        except MachineNotFound:
            continue
        except StoreError:
            continue
    return found


def _machine(wish: Wish, inventory: str, store: Path) -> Machine:
    ssh = dataclasses.asdict(wish.ssh)
    ssh["key"] = portable_path(ssh["key"], store) if ssh["key"] else ""
    host = ssh.pop("host")
    machine = new_machine(
        name=wish.name,
        ip=wish.ip,
        ssh=ssh,
        engine_port=wish.engine_port,
        engine={**wish.engine, **_packages(wish)},
        host={},
        tls_san=wish.tls_san,
    )
    wanted = {key: value for key, value in wish.host.items() if value}
    if "registry_cas" in wanted:
        wanted["registry_cas"] = resolved(store, wanted["registry_cas"])
    return dataclasses.replace(
        machine,
        ssh=dataclasses.replace(machine.ssh, host=host or machine.ip),
        host={**wanted, **({"packages": list(wanted["packages"])} if "packages" in wanted else {})},
        files=tuple(_entry(one) for one in wish.files),
        images=tuple(_image(one, store) for one in wish.images),
        inventory=inventory,
    )


def _packages(wish: Wish) -> dict[str, Any]:
    """Their files are read here: name, SHA-256, size, path."""
    paths = wish.engine.get("packages")
    return {"packages": package_files(paths)} if paths else {}


def _with_network(machine: Machine, wish: Wish) -> Machine:
    """The inventory ends only memberships that it began: `network join` is somebody's own decision."""
    if wish.network:
        advertise = wish.advertise or str(machine.network.get("vtep", ""))
        same = advertise == machine.network.get("vtep", "")
        if machine.network.get("state") == "member" and same:
            return machine
        joined = joining(machine, advertise)
        return dataclasses.replace(joined, network={**joined.network, "inventory": True})
    if is_member(machine) and machine.network.get("inventory"):
        return leaving(machine, force=False)
    return machine


def _entry(one: FileWish) -> dict[str, Any]:
    return {
        "path": one.path,
        "sha256": _sha256(one),
        "size": len(one.content),
        "mode": one.mode,
        "owner": one.owner,
        "group": one.group,
        "restart": one.restart,
        "secret": one.secret,
    }


def _image(one: ImageWish, store: Path) -> dict[str, Any]:
    return {
        "name": one.name,
        "id": one.id,
        "likeness": one.likeness,
        "size": one.size,
        "file": portable_path(one.file, store),
        "machine": one.machine,
    }


def _sha256(one: FileWish) -> str:
    return hashlib.sha256(one.content).hexdigest()


def _check_addresses(found: Sequence[Target], remembered: Mapping[str, Machine]) -> None:
    """Two machines on one host would take turns in reconfiguring it."""
    names: dict[str, str] = {}
    for one in found:
        other = names.setdefault(one.wanted.ip, one.name)
        if other != one.name:
            raise UsageError(
                f"{other} and {one.name} have the same address {one.wanted.ip}",
                hint="give each host an ansible_host of its own, or take one of them out",
            )
    for name, machine in remembered.items():
        if machine.ip in names and names[machine.ip] != name and name not in {one.name for one in found}:
            raise MachineExists(
                f'the host {machine.ip} of {names[machine.ip]} is already the machine "{name}"',
                why="two machines on one host would take turns in reconfiguring it",
                hint=f"call it {name} in the inventory, or `machinectl rm {name}` first",
            )
