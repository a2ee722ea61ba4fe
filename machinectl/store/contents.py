"""What is in the files that machines get: STORE/machines/NAME/files/SHA256, 0600.

With it a machine can be provisioned again, and a drift be told, without the inventory at hand.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from machinectl.errors import StoreError
from machinectl.store import files
from machinectl.store.store import Store
from machinectl_agent.spec import FileSpec

INLINE = 64 * 1024
"""Bytes; larger files travel only when the host has another one."""


def keep_content(store: Store, name: str, content: bytes) -> str:
    """The content's SHA-256. Callers hold `machine_lock`."""
    sha256 = hashlib.sha256(content).hexdigest()
    path = content_path(store, name, sha256)
    if not path.exists():
        store.folder(name)
        files.private_folder(path.parent)
        files.write_atomic(path, content)
    return sha256


def content_path(store: Store, name: str, sha256: str) -> Path:
    """Where it is, whether it is there or not."""
    return store.path / "machines" / name / "files" / sha256


def forget_contents(store: Store, name: str, kept: Iterable[str]) -> None:
    """Removes what no wish needs any more. Callers hold `machine_lock`."""
    folder = store.path / "machines" / name / "files"
    if folder.is_dir():
        needed = set(kept)
        for path in folder.iterdir():
            if path.name not in needed:
                path.unlink(missing_ok=True)


def file_specs(
    store: Store, name: str, entries: Iterable[Mapping[str, Any]], contents: Mapping[str, bytes] | None = None
) -> list[FileSpec]:
    """For the agent. `contents`: SHA-256 → what a plan is about that is not in the store yet. Raises `StoreError`
    where a content is in neither."""
    return [_file_spec(store, name, one, contents or {}) for one in entries]


def _file_spec(store: Store, name: str, entry: Mapping[str, Any], contents: Mapping[str, bytes]) -> FileSpec:
    sha256 = str(entry["sha256"])
    path = content_path(store, name, sha256)
    content = None
    try:
        if int(entry["size"]) <= INLINE:
            content = base64.b64encode(contents[sha256] if sha256 in contents else path.read_bytes()).decode()
        elif sha256 not in contents and not path.is_file():
            raise FileNotFoundError(2, "it is not there")
    except OSError as error:
        raise StoreError(
            f"the content of {entry['path']} is not in the store",
            why=f"{path}: {error.strerror}",
            hint="`machinectl apply` with the inventory brings it back",
            machine=name,
        ) from error
    return FileSpec(content=content, **entry)
