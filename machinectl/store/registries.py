"""What the store remembers of a machine's registries: machines/NAME/registries.json, 0600 as it holds passwords."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from machinectl.errors import StoreError
from machinectl.store import files
from machinectl.store.store import Store

FILE = "registries.json"
VERSION = 1
PORT = 5000
"""Docker's own examples have it."""


@dataclass(frozen=True)
class Registry:
    """One registry, as it was asked for last."""

    port: int = PORT
    plain: bool = False
    storage: str = ""
    """Empty: the agent's own place."""
    via: str = "auto"
    image: str = "registry:2"
    user: str = ""
    password: str = field(default="", repr=False)
    """Kept to ask the registry for its tags; the machine has its hash only."""
    htpasswd: str = field(default="", repr=False)
    """The hash: made again it would be another one, and restart the registry."""
    upstream: str = ""
    upstream_user: str = ""
    upstream_password: str = field(default="", repr=False)
    state: str = "new"
    """`new` until it has answered once, then `ready`; `leaving` while it is taken away."""


def load_registries(store: Store, name: str) -> dict[int, Registry]:
    """Port → registry. Raises StoreError for a damaged record."""
    path = store.path / "machines" / name / FILE
    try:
        document = json.loads(path.read_text())
        if document["version"] != VERSION:
            raise ValueError("it is of another version of machinectl")  # noqa: TRY301 - one error for all
        known = {one.name for one in dataclasses.fields(Registry)}
        rows = [{key: one for key, one in row.items() if key in known} for row in document["registries"]]
        return {int(row["port"]): Registry(**row) for row in rows}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{path} is damaged", why=str(error), hint="restore it from a copy of the store", machine=name
        ) from error


def save_registry(store: Store, name: str, registry: Registry) -> None:
    """Callers hold the machine's lock."""
    _write(store, name, {**load_registries(store, name), registry.port: registry})


def forget_registry(store: Store, name: str, port: int) -> None:
    """Callers hold the machine's lock."""
    _write(store, name, {key: one for key, one in load_registries(store, name).items() if key != port})


def _write(store: Store, name: str, registries: dict[int, Registry]) -> None:
    path = store.folder(name) / FILE
    if not registries:
        path.unlink(missing_ok=True)
        return
    rows: list[dict[str, Any]] = [dataclasses.asdict(registries[port]) for port in sorted(registries)]
    files.write_atomic(path, (json.dumps({"version": VERSION, "registries": rows}, indent=4) + "\n").encode())
