"""What we remember, in a folder that can be moved, copied, shared and used by many processes at once.

    STORE/certs/{ca,ca-key,cert,key}.pem        see pki/
    STORE/machines/NAME/config.json             model.Machine
    STORE/machines/NAME/{ca,cert,key,server,server-key}.pem
    STORE/known_hosts                           pinned host keys, OpenSSH's format
    STORE/locks/{store,machine-NAME}.lock       see locks.py

Nothing in it names the store's own place. Folders are 0700, files 0600.
"""

from __future__ import annotations

import dataclasses
import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from machinectl.errors import StoreError
from machinectl.model import Machine
from machinectl.store import files, records
from machinectl.store.locks import locked
from machinectl.store.migrations import migrate, version_of
from machinectl.store.paths import portable_path


class Store:
    """One store. Making the object touches nothing; reading needs no lock; the first write makes folders."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser().absolute()
        self._ready = False

    def names(self) -> list[str]:
        """Every machine's name in natural order, damaged records included."""
        return records.list_names(str(self.path))

    def load(self, name: str) -> Machine:
        """Raises MachineNotFound; StoreError for a damaged record or one of a newer machinectl."""
        document = records.read_machine(str(self.path), name)
        try:
            return Machine.from_json(document)
        except (TypeError, ValueError, KeyError) as error:
            path = Path(records.machine_folder(str(self.path), name)) / records.CONFIG
            raise records.damaged(str(path), name, str(error)) from error

    def save(self, machine: Machine) -> None:
        """Writes the record; callers hold `machine_lock`.

        Keys that this version does not know (a newer minor version wrote them) stay. A record of an older
        version is kept beside the new one as config.json.v0, .v1, …
        """
        path = self.folder(machine.name) / records.CONFIG
        files.sweep(path.parent)
        if machine.ssh.key and Path(machine.ssh.key).is_absolute():
            key = portable_path(machine.ssh.key, self.path)
            machine = dataclasses.replace(machine, ssh=dataclasses.replace(machine.ssh, key=key))
        present = self._present(path)
        document = {**present, **machine.to_json()}
        document["ssh"] = {**present.get("ssh", {}), **document["ssh"]}
        content = json.dumps(document, indent=4, ensure_ascii=False) + "\n"
        files.write_atomic(path, content.encode())

    def remove(self, name: str) -> None:
        """Forgets the machine and its certificates; raises MachineNotFound. Callers hold `machine_lock`."""
        if not records.is_name(name):
            raise records.not_found(name)
        self._ensure()
        try:
            files.remove_folder(self.path / "machines" / name)
        except FileNotFoundError:
            raise records.not_found(name) from None
        except OSError as error:
            raise StoreError("the record can't be removed", why=str(error), machine=name) from error

    def lock(self, what: str = "store", wait: float = 30.0) -> AbstractContextManager[None]:
        """The lock for what all machines share (the CA, a new name, a new IP): held for milliseconds."""
        self._ensure()
        return locked(self.path / "locks" / f"{what}.lock", what=f"the {what} {self.path}", wait=wait)

    def machine_lock(self, name: str, wait: float = 0.0) -> AbstractContextManager[None]:
        """The lock for one machine: held for as long as a create or provision works on it."""
        if not records.is_name(name):
            raise records.not_found(name)
        self._ensure()
        path = self.path / "locks" / f"machine-{name}.lock"
        return locked(path, what="the machine", wait=wait, machine=name)

    @property
    def certs(self) -> Path:
        """The folder of the CA and the client certificate."""
        self._ensure()
        return self.path / "certs"

    def folder(self, name: str) -> Path:
        """The machine's folder, made where it is missing. Raises StoreError for what can't be a name."""
        if not records.is_name(name):
            raise StoreError(
                f'"{name}" is no name for a machine',
                why="allowed are letters, digits, - and ., the first one a letter or digit",
            )
        self._ensure()
        path = files.private_folder(self.path / "machines" / name)
        files.tighten_keys(path)
        return path

    @property
    def known_hosts(self) -> Path:
        """The file of pinned host keys, made empty where it is missing."""
        self._ensure()
        return files.private_file(self.path / "known_hosts")

    def _ensure(self) -> None:
        if self._ready:
            return
        # the top folder is the user's choice (-s /srv/store, or even -s /tmp): made private when we make it,
        # never changed when it is there; all that is secret is in the folders below
        if not self.path.is_dir():
            files.private_folder(self.path, parents=True)
        for name in ("certs", "machines", "locks"):
            files.sweep(files.private_folder(self.path / name))
        files.tighten_keys(self.path / "certs")
        self._ready = True

    @staticmethod
    def _present(path: Path) -> dict[str, Any]:
        """The record about to be replaced; empty where it is missing, damaged or of an older version."""
        try:
            content = path.read_bytes()
            document: dict[str, Any] = json.loads(content)
        except (OSError, ValueError):
            return {}
        version = version_of(document) if isinstance(document, dict) else None
        if version is None or not isinstance(document.get("ssh", {}), dict):
            return {}
        if version < records.CURRENT:
            files.write_atomic(path.with_name(f"{path.name}.v{version}"), content)
            return {}
        if version > records.CURRENT:
            migrate(document, str(path))  # raises: what we don't understand is never overwritten
        return document
