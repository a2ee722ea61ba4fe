"""Ansible's INI form: `[group]`, `[group:vars]`, `[group:children]`, `host[1:9] key=value`."""

from __future__ import annotations

import ast
import re
import shlex
import warnings
from typing import Any

from machinectl.errors import InventoryError
from machinectl.inventory.groups import UNGROUPED, Draft, say
from machinectl.inventory.ranges import expand

SECTION = re.compile(r"\[([^:\]\s]+)(?::(\w+))?\]\s*(?:#.*)?")
GROUP_NAME = re.compile(r"([^:\]\s]+)\s*(?:#.*)?")
KINDS = ("hosts", "children", "vars")


def parse_ini(text: str, file: str, draft: Draft, setting: str) -> None:
    """Adds what a file says to the draft. Raises `InventoryError` with the line."""
    group, kind = UNGROUPED, "hosts"
    declared: set[str] = set()
    pending: list[tuple[str, str, str]] = []
    with_vars: dict[str, str] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line, place = raw.strip(), f"{file}:{number}"
        if not line or line[0] in "#;":
            continue
        match = SECTION.fullmatch(line)
        if match:
            group, kind = match[1], match[2] or "hosts"
            if kind not in KINDS:
                raise InventoryError(
                    f"{place}: a section can't be :{kind}", hint="it is :vars, :children or nothing"
                )
            if kind == "vars":
                with_vars.setdefault(group, place)
            else:
                declared.add(group)
            draft.add_group(group, place)
        elif line.startswith("[") and line.endswith("]"):
            raise InventoryError(f"{place}: {line} is no section", hint="names of groups have no spaces")
        elif kind == "hosts":
            _host(line, place, group, draft, setting)
        elif kind == "vars":
            name, equals, value = line.partition("=")
            if not equals:
                raise InventoryError(f"{place}: NAME=VALUE is wanted, not {line!r}")
            say(draft.groups[group], name.strip(), parse_value(value.strip()), place, setting)
        else:
            child = GROUP_NAME.fullmatch(line)
            if not child:
                raise InventoryError(f"{place}: {line!r} is no name of a group")
            pending.append((group, child[1], place))
    _settle(draft, declared, pending, with_vars)


def _settle(
    draft: Draft, declared: set[str], pending: list[tuple[str, str, str]], with_vars: dict[str, str]
) -> None:
    """Children may be declared behind their parents, but must be somewhere."""
    filled = {name for name, one in draft.groups.items() if one.hosts or one.children} | declared
    for parent, child, place in pending:
        if child not in draft.groups or (child not in filled and child not in with_vars):
            raise InventoryError(f"{place}: there is no group {child}", hint=f"add a section [{child}]")
        draft.add_child(parent, child, place)
    for name, place in with_vars.items():
        if name not in filled and name not in ("all", UNGROUPED):
            raise InventoryError(f"{place}: [{name}:vars] is for a group that is not there")


def _host(line: str, place: str, group: str, draft: Draft, setting: str) -> None:
    try:
        words = shlex.split(line, comments=True)
    except ValueError as error:
        raise InventoryError(f"{place}: {line!r} can't be parted into words", why=str(error)) from error
    if not words:
        return
    if words[0] == "---" or words[0].endswith(":"):
        raise InventoryError(
            f"{place}: {words[0]!r} is no name of a host", hint="is it YAML? then the file ends in .yml"
        )
    names, port = expand(words[0], place)
    values: dict[str, Any] = {}
    for word in words[1:]:
        name, equals, value = word.partition("=")
        if not equals:
            raise InventoryError(f"{place}: NAME=VALUE is wanted, not {word!r}")
        values[name] = parse_value(value)
    for one in names:
        host = draft.add_host(one, group, port, place)
        for name, value in values.items():
            say(host, name, value, place, setting)


def parse_value(text: str) -> Any:
    """A Python literal where it is one, as Ansible takes it (`5  # note` is 5); else the text."""
    try:
        with warnings.catch_warnings():
            # Python's own, about `\d` and the like in texts
            warnings.simplefilter("ignore")
            value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text
    return _plain(value)


def _plain(value: Any) -> Any:
    """As YAML could have it."""
    if isinstance(value, bytes):
        return value.decode(errors="surrogateescape")
    if isinstance(value, (list, tuple, set)):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if value is ...:
        return "..."
    return str(value) if isinstance(value, complex) else value
