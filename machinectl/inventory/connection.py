"""How to reach a host, from Ansible's variables."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from machinectl.errors import InventoryError
from machinectl.inventory.entries import WrongError, check_host
from machinectl.model import SshAddress

if TYPE_CHECKING:
    from machinectl.inventory.read import Host
    from machinectl.inventory.templating import Renderer

JUMP = re.compile(r"ProxyJump[= ]\s*(\S+)", re.IGNORECASE)


PASSWORDS = ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password")
BECOME_PASSWORDS = ("ansible_become_password", "ansible_become_pass")
SSH = ("ssh", "smart", "paramiko", "paramiko_ssh")
YES, NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def connection(host: Host, renderer: Renderer) -> tuple[SshAddress, bool]:
    """The address, and whether to become root. Raises `InventoryError` for what machinectl has not."""

    def place(name: str) -> str:
        where = host.places.get(name)
        return f"{where}: {host.name}: {name}" if where else f"{host.name}: {name}"

    def value(*names: str, default: str = "") -> tuple[str, str]:
        """Text of the first that is there, and its place."""
        for name in names:
            if host.variables.get(name) is not None:
                found = renderer.fill(host.variables[name], host, place(name))
                if isinstance(found, (dict, list)):
                    raise InventoryError(f"{place(name)}: a text is wanted, not {found!r}")
                return str(found), place(name)
        return default, place(names[0])

    for names, why, hint in (
        (PASSWORDS, "machinectl logs in by key", "`ssh-copy-id` puts one there"),
        (BECOME_PASSWORDS, "a password has no place in git", "use --ask-become-pass"),
    ):
        given = next((name for name in names if name in host.variables), None)
        if given:
            raise InventoryError(f"{place(given)} is set", why=why, hint=hint)
    for name, known, has in (
        ("ansible_connection", SSH, "SSH only"),
        ("ansible_become_method", ("sudo",), "sudo only"),
        ("ansible_become_user", ("root",), "to be root"),
    ):
        found, where = value(name, default=known[0])
        if found.removeprefix("ansible.builtin.") not in known:
            raise InventoryError(f"{where} is {found}, and machinectl has {has}")
    reached, where = value("ansible_host", "ansible_ssh_host", default=host.name)
    try:
        check_host(reached)
    except WrongError as error:
        raise InventoryError(f"{where}: {error}") from error
    address = SshAddress(
        host=reached,
        port=_port(*value("ansible_port", "ansible_ssh_port", default="0")),
        user=value("ansible_user", "ansible_ssh_user")[0],
        key=value("ansible_ssh_private_key_file", "ansible_private_key_file")[0],
        # both are given to ssh, which takes what it is told first
        jump=_jump(*value("ansible_ssh_common_args")) or _jump(*value("ansible_ssh_extra_args")),
    )
    return address, _truth(*value("ansible_become", default="true"))


def _port(text: str, place: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) < 65536:
        raise InventoryError(f"{place} is {text!r}, a number from 1 to 65535 is wanted")
    return int(text)


def _jump(arguments: str, place: str) -> str:
    """ProxyJump out of ssh's options. Others are ~/.ssh/config's business."""
    try:
        words = shlex.split(arguments)
    except ValueError as error:
        raise InventoryError(f"{place} can't be parted into words", why=str(error)) from error
    for index, word in enumerate(words):
        if word == "-J" and index + 1 < len(words):
            return _named(words[index + 1])
        if word.startswith("-J") and len(word) > 2:
            return _named(word[2:])
        option = words[index + 1] if word == "-o" and index + 1 < len(words) else word.removeprefix("-o")
        if word.startswith("-o") and option.lower().startswith("proxycommand"):
            raise InventoryError(
                f"{place}: ProxyCommand is not read",
                hint="write it as -o ProxyJump=HOST, or put it into ~/.ssh/config",
            )
        match = JUMP.fullmatch(option) if word.startswith("-o") else None
        if match:
            return _named(match[1])
    return ""


def _named(jump: str) -> str:
    """A group's `none` takes back what a weaker one says."""
    return "" if jump.lower() == "none" else jump


def _truth(text: str, place: str) -> bool:
    if text.lower() not in (*YES, *NO):
        raise InventoryError(f"{place}: true or false is wanted, not {text!r}")
    return text.lower() in YES
