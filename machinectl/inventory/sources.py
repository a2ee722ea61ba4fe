"""Where an inventory is: files, folders of them, and the folders group_vars and host_vars beside them."""

from __future__ import annotations

import os
from pathlib import Path

from machinectl.errors import InventoryError

PASSED_OVER = (".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry")
"""Endings that no inventory file has, as Ansible has them."""
VARS_FOLDERS = ("group_vars", "host_vars", "vars_plugins")
OUR_FOLDERS = ("files", "templates", "images")
"""What `src` and `template` of files, and `file` of images, are relative to."""
YAML_ENDINGS = (".yml", ".yaml", ".json")


def inventory_files(path: Path) -> list[Path]:
    """The files of one source, in Ansible's order. Raises `InventoryError` where there are none."""
    if not path.exists():
        raise InventoryError(
            f"there is no inventory {path}",
            hint="-i PATH names a file or a folder; `machinectl inventory --help` shows one",
        )
    found = _files(path)
    if not found:
        raise InventoryError(
            f"the folder {path} holds no inventory", hint="put a hosts.yml or hosts.ini into it"
        )
    return found


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found: list[Path] = []
    for name in sorted(os.listdir(path)):  # noqa: PTH208 - names are wanted, in their byte order
        if _is_passed_over(name):
            continue
        found.extend(_files(path / name))
    return found


def _is_passed_over(name: str) -> bool:
    return name.startswith(".") or name.endswith(PASSED_OVER) or name in (*VARS_FOLDERS, *OUR_FOLDERS)


def inventories_in(folder: Path) -> list[Path]:
    """The folder itself where it holds hosts or their variables, else what is in it, each an inventory of its own."""
    if not folder.is_dir():
        return []
    if any(folder.glob("hosts*")) or any((folder / name).is_dir() for name in VARS_FOLDERS):
        return [folder]
    return sorted(one for one in folder.iterdir() if not _is_passed_over(one.name))


def base_folder(path: Path) -> Path:
    """Where group_vars and host_vars of a source are."""
    return path if path.is_dir() else path.parent


def vars_files(folder: Path, kind: str, name: str) -> list[Path]:
    """The files that hold variables of a group or host; `kind` is group_vars or host_vars."""
    if "/" in name or name in (".", ".."):
        return []
    base = folder / kind / name
    if base.is_dir():
        return _folder_files(base)
    for ending in ("", *YAML_ENDINGS):
        path = base.with_name(name + ending)
        if path.is_dir():
            return _folder_files(path)
        if path.is_file():
            return [path]
    return []


def _folder_files(folder: Path) -> list[Path]:
    found: list[Path] = []
    for name in sorted(os.listdir(folder)):  # noqa: PTH208
        path = folder / name
        if name.startswith(".") or name.endswith("~"):
            continue
        if path.is_dir():
            found.extend(_folder_files(path) if not path.suffix else ())
        elif path.suffix in ("", *YAML_ENDINGS):
            found.append(path)
    return found
