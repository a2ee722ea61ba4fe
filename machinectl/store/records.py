"""Reading the store, nothing else: what `env`, `ip`, `url`, `config` and `active` need within milliseconds.

    STORE/machines/NAME/config.json      one machine
    STORE/machines/.removing-NAME-…      being deleted; no machine any more
    STORE/certs, STORE/known_hosts, STORE/locks    see store.py

Only os, json and what json loads anyway (re) are imported here: `env` runs in people's shell prompts.
"""

# pathlib costs a fifth of `env`'s whole time budget; os.path is loaded already:
# ruff: noqa: PTH100, PTH110, PTH111, PTH118, PTH208

from __future__ import annotations

import json
import os
import re

from machinectl.errors import MachineNotFound, StoreError

TYPE_CHECKING = False  # typing's own constant would have to be imported, which costs 4 ms
if TYPE_CHECKING:
    from typing import Any

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9\-.]*")
"""docker-machine's rule for names, to be matched in full. It also keeps `..` and `/` out of paths."""

CONFIG = "config.json"

CURRENT = 1
"""The config_version that is written; the same number as model.CONFIG_VERSION."""


def default_path() -> str:
    """The store's absolute path where no -s is given; docker-machine's variable is honoured after ours."""
    chosen = os.environ.get("MACHINECTL_STORAGE_PATH") or os.environ.get("MACHINE_STORAGE_PATH")
    return os.path.abspath(os.path.expanduser(chosen or "~/.machinectl"))


def is_name(name: str) -> bool:
    """Whether a machine may be called that."""
    return NAME.fullmatch(name) is not None


def machine_folder(store: str, name: str) -> str:
    """Where the machine's config.json and certificates are; absolute as long as `store` is."""
    return os.path.join(store, "machines", name)


def list_names(store: str) -> list[str]:
    """The machines' names, `node2` before `node10`; empty where there is no store yet.

    A folder without config.json is what a killed create left before it knew anything: no machine.
    """
    folder = os.path.join(store, "machines")
    try:
        found = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise unreadable(folder, error) from error
    names = [one for one in found if is_name(one) and os.path.exists(os.path.join(folder, one, CONFIG))]
    return sorted(names, key=natural_order)


def natural_order(name: str) -> list[tuple[int, int, str]]:
    """A sort key that takes runs of digits as numbers and ignores case, as docker-machine's `ls` does."""
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


def read_machine(store: str, name: str) -> dict[str, Any]:
    """One machine's record in the present version, as plain JSON.

    `name` is the folder's, whatever the record says: a folder that was renamed by hand goes on working.
    Raises MachineNotFound; StoreError naming the file where it is damaged or of a newer machinectl.
    """
    path = os.path.join(machine_folder(store, name), CONFIG)
    if not is_name(name):
        raise not_found(name)
    try:
        with open(path, "rb") as file:
            content = file.read()
    except (FileNotFoundError, NotADirectoryError):
        raise not_found(name) from None
    except OSError as error:
        raise unreadable(path, error) from error
    document = _parse(content, path, name)
    if document.get("config_version") != CURRENT:
        from machinectl.store.migrations import migrate  # noqa: PLC0415 - rarely needed: not on the fast path

        document = migrate(document, path)
    if not isinstance(document.get("ip"), str) or not isinstance(document.get("ssh"), dict):
        raise damaged(path, name, "it lacks the machine's address")
    document["name"] = name
    return document


def not_found(name: str) -> MachineNotFound:
    """docker-machine's words; scripts look for them."""
    return MachineNotFound(
        f'Docker machine "{name}" does not exist. Use "machinectl ls" to list machines. '
        'Use "machinectl create" to add a new one.'
    )


def unreadable(path: str, error: OSError) -> StoreError:
    """For what the operating system refuses."""
    return StoreError(
        f"{path} can't be read",
        why=error.strerror or str(error),
        hint="check who owns the store (ls -ld) or name another one with -s",
    )


def damaged(path: str, name: str, why: str) -> StoreError:
    """For a record that is there but says nothing usable; the other machines are not touched by it."""
    return StoreError(
        f"{path} is damaged",
        why=why,
        hint=f"put the file back from a backup, or drop the record with `machinectl rm -f {name}` "
        "and create the machine again (nothing on the host is lost)",
        machine=name,
    )


def _parse(content: bytes, path: str, name: str) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except ValueError as error:
        raise damaged(path, name, str(error) if content else "the file is empty") from error
    if not isinstance(document, dict):
        raise damaged(path, name, "it is no JSON object")
    return document
