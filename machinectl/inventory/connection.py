"""How to reach a host, from Ansible's variables."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

from machinectl.errors import InventoryError
from machinectl.model import SshAddress

if TYPE_CHECKING:
    from machinectl.inventory.read import Host
    from machinectl.inventory.templating import Renderer

JUMP = re.compile(r"ProxyJump[= ]\s*(\S+)", re.IGNORECASE)


def connection(host: Host, renderer: Renderer) -> tuple[SshAddress, bool]:
    """The address, and whether to become root. Raises `InventoryError` for what machinectl has not."""

    def value(*names: str, default: Any = "") -> Any:
        for name in names:
            if host.variables.get(name) is not None:
                return renderer.fill(host.variables[name], host, f"{host.name}, {name}")
        return default

    kind = str(value("ansible_connection", default="ssh"))
    if kind not in ("ssh", "smart", "paramiko", "paramiko_ssh", "ansible.builtin.ssh"):
        raise InventoryError(f"{host.name}: ansible_connection is {kind}, and machinectl has SSH only")
    method = str(value("ansible_become_method", default="sudo"))
    if method.rpartition(".")[2] != "sudo":
        raise InventoryError(f"{host.name}: ansible_become_method is {method}, and machinectl has sudo only")
    user = str(value("ansible_become_user", default="root"))
    if user != "root":
        raise InventoryError(f"{host.name}: ansible_become_user is {user}, and machinectl needs root")
    for name in ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password"):
        if name in host.variables:
            raise InventoryError(
                f"{host.name}: {name} is set, and machinectl logs in by key",
                hint="`ssh-copy-id` puts one there",
            )
    for name in ("ansible_become_password", "ansible_become_pass"):
        if name in host.variables:
            raise InventoryError(
                f"{host.name}: {name} is set",
                why="a password has no place in git",
                hint="use --ask-become-pass",
            )
    address = SshAddress(
        host=str(value("ansible_host", "ansible_ssh_host", default=host.name)),
        port=_port(value("ansible_port", "ansible_ssh_port", default=0), host.name),
        user=str(value("ansible_user", "ansible_ssh_user")),
        key=str(value("ansible_ssh_private_key_file", "ansible_private_key_file")),
        jump=_jump(f"{value('ansible_ssh_common_args')} {value('ansible_ssh_extra_args')}", host.name),
    )
    return address, _truth(value("ansible_become", default=True))


def _port(value: Any, name: str) -> int:
    try:
        port = int(value)
    except (TypeError, ValueError):
        port = -1
    if not 0 <= port < 65536:
        raise InventoryError(f"{name}: ansible_port is {value!r}, a number from 1 to 65535 is wanted")
    return port


def _jump(arguments: str, name: str) -> str:
    """ProxyJump out of ssh's options. Others are ~/.ssh/config's business."""
    try:
        words = shlex.split(arguments)
    except ValueError as error:
        raise InventoryError(
            f"{name}: ansible_ssh_common_args can't be parted into words", why=str(error)
        ) from error
    for index, word in enumerate(words):
        if word == "-J" and index + 1 < len(words):
            return words[index + 1]
        if word.startswith("-J") and len(word) > 2:
            return word[2:]
        option = words[index + 1] if word == "-o" and index + 1 < len(words) else word.removeprefix("-o")
        if word.startswith("-o") and option.lower().startswith("proxycommand"):
            raise InventoryError(
                f"{name}: ProxyCommand in ansible_ssh_common_args is not read",
                hint="write it as -o ProxyJump=HOST, or put it into ~/.ssh/config",
            )
        match = JUMP.fullmatch(option) if word.startswith("-o") else None
        if match:
            return match[1]
    return ""


def _truth(value: Any) -> bool:
    return value if isinstance(value, bool) else str(value).lower() in ("true", "yes", "on", "1")
