"""The lab's hosts as an inventory in Ansible's YAML form, for every other command and for other tools."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from machinectl.lab.host import Host


def render_inventory(hosts: Iterable[Host]) -> str:
    """Pure. Strings are written as JSON, which is YAML as well."""
    lines = ["# written by `machinectl lab`; changes are undone by the next `lab up`", "all:", "  hosts:"]
    for host in hosts:
        lines.append(f"    {host.name}:")
        lines.append(f"      ansible_host: {host.ip}")
        lines.append("      ansible_user: root")
        lines.append(f"      ansible_ssh_private_key_file: {json.dumps(str(host.key))}")
    return "\n".join(lines) + "\n"


def write_inventory(path: Path, hosts: Iterable[Host]) -> None:
    """Atomic: a reader sees the old inventory or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(render_inventory(hosts))
    os.replace(temporary, path)  # noqa: PTH105 - reads better with both names
