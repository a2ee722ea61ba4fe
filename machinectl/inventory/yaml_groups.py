"""Ansible's YAML form: groups with `hosts`, `vars` and `children`."""

from __future__ import annotations

from typing import Any

from machinectl.errors import InventoryError
from machinectl.inventory.groups import Draft, say
from machinectl.inventory.located import Mapping
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
    for variable, value in (content.get("vars") or {}).items():
        say(group, str(variable), value, content["vars"], setting)
    for child, inner in _items(content, "children"):
        _group(child, inner[0], inner[1], draft, setting)
        draft.add_child(name, child, inner[1])
    for pattern, inner in _items(content, "hosts"):
        _hosts(pattern, inner[0], inner[1], name, draft, setting)


def _items(content: Mapping, key: str) -> list[tuple[Any, tuple[Any, str]]]:
    part = content.get(key)
    if isinstance(part, str):
        return [(part, (None, content.place(key)))]
    if part is None:
        return []
    return [(name, (value, part.place(name))) for name, value in part.items()]


def _hosts(pattern: Any, values: Any, place: str, group: str, draft: Draft, setting: str) -> None:
    if not isinstance(pattern, str):
        raise InventoryError(f"{place}: {pattern!r} is no name of a host", hint="put it into quotation marks")
    if values is not None and not isinstance(values, Mapping):
        raise InventoryError(f"{place}: the variables of {pattern} are no mapping")
    names, port = expand(pattern, place)
    for name in names:
        new = name not in draft.hosts
        host = draft.add_host(name, group)
        if port is not None and new:  # as Ansible: a port counts where the host is named first
            say(host, "ansible_port", port, place, setting)
        for variable, value in (values or {}).items():
            say(host, str(variable), value, values, setting)
