"""Mappings and lists that know where they were written, for errors that name file and line."""

from __future__ import annotations

from typing import Any

from machinectl.errors import InventoryError


class Mapping(dict[Any, Any]):
    """A dict as YAML has it; `line_of` says where a key stands."""

    def __init__(self, file: str = "", line: int = 0) -> None:
        super().__init__()
        self.file = file
        self.line = line
        self.lines: dict[Any, int] = {}

    def line_of(self, key: Any) -> int:
        return self.lines.get(key, self.line)

    def place(self, key: Any) -> str:
        """`FILE:LINE` of a key."""
        return f"{self.file}:{self.line_of(key)}"


class Sequence(list[Any]):
    """A list as YAML has it."""

    def __init__(self, file: str = "", line: int = 0) -> None:
        super().__init__()
        self.file = file
        self.line = line
        self.lines: list[int] = []

    def place(self, index: int) -> str:
        return f"{self.file}:{self.lines[index] if index < len(self.lines) else self.line}"


class Vaulted(str):
    """A value that Ansible's vault has encrypted, as it is written."""

    place: str
    """`FILE:LINE`."""

    def __new__(cls, text: str, place: str = "") -> Vaulted:
        made = super().__new__(cls, text)
        made.place = place
        return made


class Unsafe(str):
    """A text that is no template, whatever is in it (`!unsafe`)."""

    __slots__ = ()


def name_of(key: Any) -> str:
    """A key as JSON has it: YAML's may be a number, true or null."""
    if key is None:
        return "null"
    return str(key).lower() if isinstance(key, bool) else str(key)


def vault_refusal(what: str, place: str) -> InventoryError:
    """Of `what`, which is encrypted and wanted."""
    return InventoryError(
        f"{place}: {what} is encrypted with Ansible's vault",
        why="machinectl does not decrypt vaults",
        hint="keep the secret in a file outside of the inventory, as `src` of a file with `secret: true`",
    )


def place_of(holder: Any, key: Any) -> str:
    """`FILE:LINE` where it is known, else nothing."""
    if isinstance(holder, (Mapping, Sequence)):
        return holder.place(key)
    return ""
