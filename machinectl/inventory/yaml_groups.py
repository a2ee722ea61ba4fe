"""Ansible's YAML form: groups with `hosts`, `vars` and `children`."""

from __future__ import annotations

from typing import Any

from machinectl.errors import InventoryError
from machinectl.inventory.groups import Draft, say
from machinectl.inventory.located import Mapping, name_of
from machinectl.inventory.ranges import expand

KEYS = ("hosts", "vars", "children")


def parse_groups(document: Any, file: str, draft: Draft, setting: str) -> None:
    """Adds what a document says to the draft. Raises `InventoryError` with the line."""
    if not isinstance(document, Mapping) or not document:
        raise InventoryError(f"{file}: an inventory is a mapping of groups", hint="begin with `all:`")
    if "plugin" in document:
        raise InventoryError(
            f"{document.place('plugin')}: inventory plugins are not run",
            hint="write its result into a file: `ansible-inventory -i FILE --list --yaml > hosts.yml`",
        )
    for name, content in document.items():
        _group(name, content, document.place(name), draft, setting)


def _group(name: Any, content: Any, place: str, draft: Draft, setting: str) -> None:
    group = draft.add_group(name, place)
    if content is None:
        return
    if not isinstance(content, Mapping):
        raise InventoryError(
            f"{place}: group {name} is no mapping", hint="it has `hosts`, `vars` and `children`"
        )
    for key, part in content.items():
        where = content.place(key)
        if key not in KEYS:
            raise InventoryError(
                f"{where}: group {name} can't have {key!r}", hint="a group has `hosts`, `vars` and `children`"
            )
        if isinstance(part, str):
            single = Mapping(content.file, content.line_of(key))
            single[part] = None
            part = single  # noqa: PLW2901 - a single name stands for a mapping with it
        if part is not None and not isinstance(part, Mapping):
            raise InventoryError(
                f"{where}: {key!r} of group {name} is no mapping", hint="names end with a colon"
            )
    # as they are written: what is named first comes first
    for key in content:
        for inner, value, where in _items(content, key):
            if key == "vars":
                say(group, name_of(inner), value, content[key], setting)
            elif key == "children":
                _group(inner, value, where, draft, setting)
                draft.add_child(name, inner, where)
            else:
                _hosts(inner, value, where, name, draft, setting)


def _items(content: Mapping, key: str) -> list[tuple[Any, Any, str]]:
    """Name, value and place of what is below a key."""
    part = content.get(key)
    if isinstance(part, str):
        return [(part, None, content.place(key))]
    return [] if part is None else [(name, value, part.place(name)) for name, value in part.items()]


def _hosts(pattern: Any, values: Any, place: str, group: str, draft: Draft, setting: str) -> None:
    if not isinstance(pattern, str):
        raise InventoryError(f"{place}: {pattern!r} is no name of a host", hint="put it into quotation marks")
    if values is not None and not isinstance(values, Mapping):
        raise InventoryError(f"{place}: the variables of {pattern} are no mapping")
    names, port = expand(pattern, place)
    for name in names:
        host = draft.add_host(name, group, port, place)
        for variable, value in (values or {}).items():
            say(host, name_of(variable), value, values, setting)
