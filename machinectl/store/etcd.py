"""What the store remembers of its etcd: etcd.json, beside the machines."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from machinectl.errors import StoreError
from machinectl.store import files
from machinectl.store.store import Store

FILE = "etcd.json"
VERSION = 1


@dataclass(frozen=True)
class Etcd:
    """A cluster of our own (`members`), or somebody else's (`endpoints` and paths of its certificates)."""

    members: Mapping[str, str] = field(default_factory=dict)
    """Machine name → the address that members and clients reach it by."""
    incarnations: Mapping[str, str] = field(default_factory=dict)
    """Machine name → a word of its membership, for those that were added later; the others have the token."""
    token: str = ""
    state: str = "new"
    """`new` while it is being founded, then `existing`."""
    joining: str = ""
    """The machine that is being added."""
    restoring: str = ""
    """sha256 of the snapshot that members are being restored from."""
    client_port: int = 2379
    peer_port: int = 2380
    quota: int = 2 * 1024**3
    """Bytes."""
    retention: str = "1h"
    v2: bool = False
    insecure_loopback: bool = False
    binaries: Mapping[str, str] = field(default_factory=dict)
    """Program → sha256; empty: the distribution's package."""
    binaries_path: str = ""
    """Folder or tar file that they are taken from, as `portable_path` records it."""
    endpoints: tuple[str, ...] = ()
    ca: str = ""
    """This and the next two: paths, as `portable_path` records them."""
    cert: str = ""
    key: str = ""

    def incarnation(self, name: str) -> str:
        return self.incarnations.get(name, self.token)

    def client_url(self, name: str) -> str:
        return f"https://{_bracketed(self.members[name])}:{self.client_port}"

    def client_urls(self) -> list[str]:
        """Of all members that answer clients."""
        return [self.client_url(name) for name in self.members if name != self.joining]

    def peer_url(self, name: str) -> str:
        return f"https://{_bracketed(self.members[name])}:{self.peer_port}"


def load_etcd(store: Store) -> Etcd | None:
    """None where there is none. Raises StoreError for a damaged record."""
    path = store.path / FILE
    try:
        document: dict[str, Any] = json.loads(path.read_text())
        if document.pop("version") != VERSION:
            raise ValueError("it is of another version of machinectl")  # noqa: TRY301 - one error for all
        document["endpoints"] = tuple(document.get("endpoints", ()))
        known = {one.name for one in dataclasses.fields(Etcd)}
        return Etcd(**{name: value for name, value in document.items() if name in known})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{path} is damaged", why=str(error), hint="restore it from a copy of the store"
        ) from error


def save_etcd(store: Store, etcd: Etcd) -> None:
    """Callers hold the store's lock `etcd`."""
    document = {"version": VERSION, **dataclasses.asdict(etcd)}
    store.certs  # noqa: B018 - makes the store's folders
    files.write_atomic(store.path / FILE, (json.dumps(document, indent=4) + "\n").encode())


def remove_etcd(store: Store) -> None:
    """Callers hold the store's lock `etcd`."""
    (store.path / FILE).unlink(missing_ok=True)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
