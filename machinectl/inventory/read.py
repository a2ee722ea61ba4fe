"""Reads inventories as Ansible does: hosts, groups, variables, and who overrules whom.

What a host's variables are, from the weakest on (Ansible's "Understanding variable precedence"): the inventory
files' variables of `all`, then of the other groups (nearest to the host last; among equals by
ansible_group_priority and name), group_vars/all, group_vars of the other groups, the inventory files' variables of
the host, host_vars.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from machinectl.errors import InventoryError
from machinectl.inventory.groups import ALL, UNGROUPED, Draft, GroupDraft, HostDraft
from machinectl.inventory.ini_file import parse_ini
from machinectl.inventory.located import Mapping as Located
from machinectl.inventory.sources import YAML_ENDINGS, base_folder, inventory_files, vars_files
from machinectl.inventory.yaml_file import parse_yaml, read_text
from machinectl.inventory.yaml_groups import parse_groups

SETTING = "machinectl"
"""The variable that holds a machine's settings."""
PRIORITY = "ansible_group_priority"


@dataclass(frozen=True)
class Group:
    """One group; `all` and `ungrouped` are always there."""

    name: str
    hosts: tuple[str, ...]
    """Those that are named in it; not those of its children."""
    children: tuple[str, ...]
    variables: Mapping[str, Any]


@dataclass(frozen=True)
class Host:
    """One host with the variables that count for it."""

    name: str
    groups: tuple[str, ...]
    """All that it is in, by way of children too, without `all`; sorted."""
    variables: Mapping[str, Any]
    layers: tuple[tuple[Any, str], ...] = ()
    """What was said of the variable `machinectl`, the weakest first, and where."""
    folders: tuple[Path, ...] = ()
    """Of the inventory, for relative paths."""
    file: str = ""
    """Where it was named first."""
    places: Mapping[str, str] = field(default_factory=dict)
    """`FILE:LINE` of Ansible's own variables, as far as known."""


@dataclass(frozen=True)
class Inventory:
    """Everything that the files say."""

    hosts: Mapping[str, Host]
    groups: Mapping[str, Group]
    folders: tuple[Path, ...] = field(default=())

    @cached_property
    def members(self) -> Mapping[str, tuple[str, ...]]:
        """Group → its hosts, then those of its children, as they are written."""
        return {name: tuple(self._members(name)) for name in self.groups}

    def _members(self, name: str) -> dict[str, None]:
        found: dict[str, None] = {}
        level, seen = [name], {name}
        while level:
            for one in level:
                found.update(dict.fromkeys(self.groups[one].hosts))
            level = [child for one in level for child in self.groups[one].children if child not in seen]
            seen.update(level)
        return found

    def select(self, patterns: Sequence[str], limit: Sequence[str] = ()) -> list[str]:
        """Host patterns as Ansible has them, in the inventory's order. Raises `InventoryError` for a word that
        matches nothing."""
        from machinectl.inventory.patterns import select  # noqa: PLC0415 - reading alone needs none

        return select(self, patterns, limit)

    def to_json(self) -> dict[str, Any]:
        """As `ansible-inventory --list` prints it."""
        from machinectl.inventory.listing import listing  # noqa: PLC0415

        return listing(self)


def read_inventory(paths: Sequence[Path]) -> Inventory:
    """Several sources add up; a later one overrules. Raises `InventoryError` with file and line."""
    draft = Draft()
    for path in paths:
        for file in inventory_files(path):
            _read_file(file, draft)
    if not draft.hosts:
        raise InventoryError(
            f"there is no host in {', '.join(map(str, paths))}", hint="add one below `hosts:`"
        )
    _reconcile(draft)
    # one that is named again counts where it is named last
    folders = tuple(reversed(dict.fromkeys(base_folder(path) for path in reversed(paths))))
    group_files = {name: [_vars(one, "group_vars", name) for one in folders] for name in draft.groups}
    depths = _depths(draft)
    groups = {name: _group(one, group_files[name]) for name, one in draft.groups.items()}
    hosts = {}
    for name, host in draft.hosts.items():
        inside = draft.ancestors(host.groups) | {ALL}
        order = sorted(inside, key=lambda one: (depths[one], draft.groups[one].priority, one))
        hosts[name] = _host(host, order, draft, group_files, folders)
    return Inventory(hosts, groups, folders)


def _read_file(path: Path, draft: Draft) -> None:
    text = read_text(path)
    if text.startswith("#!"):
        raise InventoryError(
            f"{path} is a program",
            why="machinectl runs no inventory scripts",
            hint="write its result into a file: `ansible-inventory -i FILE --list --yaml > hosts.yml`",
        )
    draft.file = str(path)
    if path.suffix in YAML_ENDINGS or (path.suffix == "" and _is_yaml(text)):
        parse_groups(parse_yaml(text, str(path)), str(path), draft, SETTING)
    elif path.suffix == ".toml":
        raise InventoryError(f"{path}: TOML inventories are not read", hint="write it as YAML or INI")
    else:
        parse_ini(text, str(path), draft, SETTING)


def _is_yaml(text: str) -> bool:
    """Of a file without an ending: Ansible tries both. One that is neither is what it looks like."""
    try:
        return isinstance(parse_yaml(text, ""), Located)
    except InventoryError:
        pass
    for line in text.splitlines():
        bare = line.split("#")[0].strip()
        if bare and not line.lstrip().startswith(";"):
            return bare == "---" or (bare.endswith(":") and not bare.startswith("[")) or bare.startswith("{")
    return False


def _reconcile(draft: Draft) -> None:
    """Groups without parents are in `all`, hosts without groups in `ungrouped`."""
    for name, group in draft.groups.items():
        if name != ALL and not group.parents:
            draft.add_child(ALL, name, "")
        if PRIORITY in group.vars:
            group.priority = _priority(group.vars.pop(PRIORITY), name)
    for host in draft.hosts.values():
        others = [one for one in host.groups if one not in (ALL, UNGROUPED)]
        if others and UNGROUPED in host.groups:
            host.groups.remove(UNGROUPED)
            draft.groups[UNGROUPED].hosts.remove(host.name)
        elif not others and UNGROUPED not in host.groups:
            draft.add_host(host.name, UNGROUPED)


def _priority(value: Any, name: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise InventoryError(f"{PRIORITY} of group {name} is no number: {value!r}") from None


def _depths(draft: Draft) -> dict[str, int]:
    """How far below `all` a group is, by the longest way."""
    depths = dict.fromkeys(draft.groups, 0)
    open_parents = {name: len(one.parents) for name, one in draft.groups.items()}
    waiting = [ALL]
    while waiting:
        name = waiting.pop()
        for child in draft.groups[name].children:
            depths[child] = max(depths[child], depths[name] + 1)
            open_parents[child] -= 1
            if not open_parents[child]:
                waiting.append(child)
    return depths


def _vars(folder: Path, kind: str, name: str) -> list[Located]:
    found = []
    for path in vars_files(folder, kind, name):
        document = parse_yaml(read_text(path), str(path))
        if not document:
            continue
        if not isinstance(document, Located):
            raise InventoryError(f"{path}:1: a mapping of variables is wanted")
        found.append(document)
    return found


def _group(draft: GroupDraft, files: Sequence[Sequence[Located]]) -> Group:
    variables = dict(draft.vars)
    for folder in files:
        for one in folder:
            variables.update(one)
    return Group(draft.name, tuple(draft.hosts), tuple(draft.children), variables)


def _host(
    host: HostDraft,
    order: Sequence[str],
    draft: Draft,
    files: Mapping[str, Sequence[Sequence[Located]]],
    folders: tuple[Path, ...],
) -> Host:
    variables: dict[str, Any] = {}
    layers: list[tuple[Any, str]] = []
    places: dict[str, str] = {}
    for name in order:
        variables.update(draft.groups[name].vars)
        layers.extend(draft.groups[name].layers)
        places.update(draft.groups[name].places)
    # group_vars/all of every source; then source after source, so that a later one's parents overrule an earlier
    # one's children
    for names in ([ALL], [name for name in order if name != ALL]):
        for source in range(len(folders)):
            for name in names:
                _add_files(files[name][source], variables, layers, places)
    variables.update(host.vars)
    layers.extend(host.layers)
    places.update(host.places)
    for folder in folders:
        _add_files(_vars(folder, "host_vars", host.name), variables, layers, places)
    groups = tuple(sorted(name for name in order if name != ALL))
    return Host(host.name, groups, variables, tuple(layers), folders, host.file, places)


def _add_files(
    documents: Sequence[Located],
    variables: dict[str, Any],
    layers: list[tuple[Any, str]],
    places: dict[str, str],
) -> None:
    for one in documents:
        variables.update(one)
        for name in one:
            if name == SETTING:
                layers.append((one[SETTING], one.place(SETTING)))
            elif isinstance(name, str) and name.startswith("ansible_"):
                places[name] = one.place(name)
