"""An inventory as `ansible-inventory --list` and `--graph` print it."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from machinectl.inventory.groups import ALL
from machinectl.inventory.located import Unsafe, Vaulted, name_of

if TYPE_CHECKING:
    from machinectl.inventory.read import Inventory


def listing(inventory: Inventory) -> dict[str, Any]:
    """Groups with their hosts and children, and every host's variables below `_meta`."""
    found: dict[str, Any] = {}
    seen: set[str] = set()

    def add(name: str) -> None:
        if name in seen:
            return
        seen.add(name)
        group = inventory.groups[name]
        row: dict[str, Any] = {}
        if name != ALL and group.hosts:
            row["hosts"] = list(group.hosts)
        children = list(group.children)
        if children:
            row["children"] = children
        for one in group.children:
            add(one)
        if row:
            found[name] = row

    add(ALL)
    variables = {name: plain(host.variables) for name, host in inventory.hosts.items() if host.variables}
    return {"_meta": {"hostvars": variables}, **dict(sorted(found.items()))}


def plain(value: Any) -> Any:
    """As JSON can have it."""
    if isinstance(value, Vaulted):
        return {"__ansible_vault": str(value)}
    if isinstance(value, Unsafe):
        return {"__ansible_unsafe": str(value)}
    if isinstance(value, dict):
        return {name_of(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(one) for one in value]
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    return value


def graph(inventory: Inventory, name: str = ALL) -> str:
    """Groups and hosts as a tree of lines."""
    lines = [f"@{name}:"]

    def add(group: str, depth: int) -> None:
        for child in inventory.groups[group].children:
            lines.append(f"{'  |' * depth}--@{child}:")
            add(child, depth + 1)
        if group != ALL:  # those that are in no other group are in `ungrouped`
            lines.extend(f"{'  |' * depth}--{host}" for host in inventory.groups[group].hosts)

    add(name, 1)
    return "\n".join(lines)
