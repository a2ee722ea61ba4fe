"""The store's folders and files: private, swept, and removed in one go."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from pathlib import Path

from machinectl.atomic import sweep_temporary, sync_folder, write_atomic
from machinectl.errors import StoreError

__all__ = ["private_file", "private_folder", "remove_folder", "sweep", "tighten_keys", "write_atomic"]

_REMOVING = ".removing-"


def sweep(folder: Path) -> None:
    """Deletes what killed processes left in `folder`: temporary files and folders on their way out."""
    sweep_temporary(folder)
    for doomed in folder.glob(f"{_REMOVING}*"):
        shutil.rmtree(doomed, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Deletes a folder so that it is there in full or not at all: renamed first, then emptied.

    Raises FileNotFoundError where there is none.
    """
    doomed = path.with_name(f"{_REMOVING}{path.name}-{secrets.token_hex(4)}")
    path.rename(doomed)
    sync_folder(path.parent)
    shutil.rmtree(doomed, ignore_errors=True)


def private_folder(path: Path, *, parents: bool = False) -> Path:
    """The folder, made with 0700 where it is missing, tightened where others may look into it.

    Raises StoreError where it belongs to somebody else or can't be made.
    """
    try:
        path.mkdir(mode=0o700, parents=parents, exist_ok=True)
        _tighten(path, 0o700)
    except OSError as error:
        raise StoreError(
            f"{path} can't be used as a folder of the store",
            why=error.strerror or str(error),
            hint="name another store with -s, or set MACHINECTL_STORAGE_PATH",
        ) from error
    return path


def private_file(path: Path) -> Path:
    """The file, made empty with 0600 where it is missing, tightened where others may read it."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        _tighten(path, 0o600)
    except OSError as error:
        raise StoreError(f"{path} can't be used", why=error.strerror or str(error)) from error
    return path


def tighten_keys(folder: Path) -> None:
    """Makes every private key in `folder` 0600: a store that was copied with plain `cp` has them 0644."""
    for key in folder.glob("*key.pem"):
        private_file(key)


def _tighten(path: Path, mode: int) -> None:
    found = path.stat()
    if found.st_uid not in (os.geteuid(), 0) and os.geteuid() != 0:
        raise StoreError(
            f"{path} belongs to another user",
            why="keys that somebody else can replace protect nothing",
            hint="name a store of your own with -s",
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        path.chmod(mode)
