"""Groups and hosts while an inventory is read: who is in whom, and their variables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from machinectl.errors import InventoryError
from machinectl.inventory.located import Mapping

ALL, UNGROUPED = "all", "ungrouped"


@dataclass
class GroupDraft:
    """One group."""

    name: str
    vars: dict[str, Any] = field(default_factory=dict)
    layers: list[Any] = field(default_factory=list)
    """The values of `machinectl` in the order in which they were said."""
    places: dict[str, str] = field(default_factory=dict)
    """Where Ansible's own variables were said."""
    children: list[str] = field(default_factory=list)
    parents: list[str] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    priority: int = 1


@dataclass
class HostDraft:
    """One host."""

    name: str
    vars: dict[str, Any] = field(default_factory=dict)
    layers: list[Any] = field(default_factory=list)
    places: dict[str, str] = field(default_factory=dict)
    groups: list[str] = field(default_factory=list)
    """Those that name it; not their parents."""
    file: str = ""
    """Where it was named first."""


class Draft:
    """An inventory in the making."""

    def __init__(self) -> None:
        self.groups: dict[str, GroupDraft] = {ALL: GroupDraft(ALL), UNGROUPED: GroupDraft(UNGROUPED)}
        self.hosts: dict[str, HostDraft] = {}
        self.file = ""
        """The one that is being read."""
        self.add_child(ALL, UNGROUPED, "")

    def add_group(self, name: str, place: str) -> GroupDraft:
        if not isinstance(name, str) or not name:
            raise InventoryError(
                f"{place}: {name!r} is no name of a group", hint="put numbers into quotation marks"
            )
        return self.groups.setdefault(name, GroupDraft(name))

    def add_child(self, parent: str, child: str, place: str) -> None:
        if parent == UNGROUPED or (child == UNGROUPED and parent != ALL):
            raise InventoryError(
                f"{place}: {child} can't be in {parent}",
                why=f"{UNGROUPED} has the hosts that are in no group",
            )
        if child == parent or parent in self.descendants(child):
            raise InventoryError(
                f"{place}: group {child} can't be in {parent}", why=f"{parent} is in {child}"
            )
        if child not in self.groups[parent].children:
            self.groups[parent].children.append(child)
            self.groups[child].parents.append(parent)

    def add_host(self, name: str, group: str, port: int | None = None, place: str = "") -> HostDraft:
        """`port`, as in `web1:2222`, counts where a host is named first, as in Ansible."""
        if not name:
            raise InventoryError(f"{place}: a host without a name")
        if name not in self.hosts:
            self.hosts[name] = HostDraft(name, file=self.file)
            if port:
                self.hosts[name].vars["ansible_port"] = port
        host = self.hosts[name]
        if name not in self.groups[group].hosts:
            self.groups[group].hosts.append(name)
            host.groups.append(group)
        return host

    def descendants(self, name: str) -> set[str]:
        found: set[str] = set()
        waiting = [name]
        while waiting:
            for child in self.groups[waiting.pop()].children:
                if child not in found:
                    found.add(child)
                    waiting.append(child)
        return found

    def ancestors(self, names: list[str]) -> set[str]:
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting.extend(self.groups[name].parents)
        return found


def say(target: GroupDraft | HostDraft, name: str, value: Any, holder: Any, setting: str) -> None:
    """Gives a variable its value. `holder` is where it was written."""
    target.vars[name] = value
    ansible = name.startswith("ansible_")
    if ansible or name == setting:
        place = holder.place(name) if isinstance(holder, Mapping) else str(holder)
        if ansible:
            target.places[name] = place
        else:
            target.layers.append((value, place))
