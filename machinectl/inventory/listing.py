"""An inventory as `ansible-inventory --list` and `--graph` print it."""

from __future__ import annotations

import datetime
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from machinectl.inventory.groups import ALL
from machinectl.inventory.located import Unsafe, Vaulted, name_of

if TYPE_CHECKING:
    from machinectl.inventory.read import Inventory


def listing(inventory: Inventory, chosen: Collection[str] | None = None) -> dict[str, Any]:
    """Groups with their hosts and children, and every host's variables below `_meta`. `chosen`: these hosts only."""
    shown = inventory.hosts.keys() if chosen is None else set(chosen)
    found: dict[str, Any] = {}
    for name, group in sorted(inventory.groups.items()):
        hosts = [one for one in group.hosts if one in shown] if name != ALL else []
        row = {"hosts": hosts, "children": list(group.children)}
        if any(row.values()):
            found[name] = {key: value for key, value in row.items() if value}
    variables = {
        name: plain(host.variables)
        for name, host in inventory.hosts.items()
        if host.variables and name in shown
    }
    return {"_meta": {"hostvars": variables}, **found}


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
    lines = []
    waiting = [(name, True, 0)]
    while waiting:
        one, is_group, depth = waiting.pop()
        lead = "  |" * depth + "--" if depth else ""
        lines.append(f"{lead}@{one}:" if is_group else f"{lead}{one}")
        if is_group:
            group = inventory.groups[one]
            # those of `all` are in `ungrouped`, where they are in no other group
            hosts = group.hosts if one != ALL else ()
            below = [(child, True, depth + 1) for child in group.children]
            waiting.extend(reversed([*below, *((host, False, depth + 1) for host in hosts)]))
    return "\n".join(lines)
