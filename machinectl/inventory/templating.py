"""Jinja2 templates in settings, over the host's variables, in a sandbox; an unknown variable is an error."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from machinectl.errors import InventoryError
from machinectl.inventory.located import Mapping, Sequence, Vaulted, place_of

if TYPE_CHECKING:
    from machinectl.inventory.read import Host, Inventory

MARKS = ("{{", "{%", "{#")
ALONE = re.compile(r"\{\{((?:(?!\}\}|\{\{).)*)\}\}", re.DOTALL)
"""A template that is nothing but one expression."""
DEEPEST = 10
"""Variables whose values are templates themselves, one in the other."""


class Renderer:
    """Fills templates in. Jinja2 is loaded for the first one only."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._environments: dict[bool, Any] = {}
        self._templates: dict[tuple[bool, str], Callable[[dict[str, Any]], Any]] = {}
        """Compiled: a group's template is the same for all of its hosts."""
        self._shared: dict[str, Any] = {}

    def fill(self, value: Any, host: Host, place: str) -> Any:
        """The value with all templates in it filled in. Raises `InventoryError`."""
        if isinstance(value, Vaulted):
            raise InventoryError(
                f"{value.place or place}: this value is encrypted with Ansible's vault",
                why="machinectl does not decrypt vaults",
                hint="keep the secret in a file outside of the inventory, as `src` of a file with `secret: true`",
            )
        if isinstance(value, str):
            return self.text(value, host, place) if any(mark in value for mark in MARKS) else value
        if isinstance(value, dict):
            filled = Mapping(getattr(value, "file", ""), getattr(value, "line", 0))
            filled.lines = dict(getattr(value, "lines", {}))
            for key, one in value.items():
                filled[key] = self.fill(one, host, place_of(value, key) or place)
            return filled
        if isinstance(value, list):
            rows = Sequence(getattr(value, "file", ""), getattr(value, "line", 0))
            rows.lines = list(getattr(value, "lines", []))
            rows.extend(
                self.fill(one, host, place_of(value, index) or place) for index, one in enumerate(value)
            )
            return rows
        return value

    def text(self, template: str, host: Host, place: str, *, file: bool = False) -> Any:
        """`file`: the text of a file, which keeps its last newline and is no other type than text."""
        import jinja2  # noqa: PLC0415 - 50 ms that inventories without templates don't need

        variables = self._variables(host)
        try:
            result = template
            for _ in range(DEEPEST):
                result = self._template(result, file=file)(variables)
                if isinstance(result, jinja2.Undefined):
                    str(result)  # raises
                if file or not isinstance(result, str) or not any(mark in result for mark in MARKS):
                    return result
        except jinja2.TemplateError as error:
            raise InventoryError(
                f"{place}: the template can't be filled in for {host.name}",
                why=str(error.message or type(error).__name__),
                hint="`machinectl inventory show` lists a host's variables",
            ) from error
        except Exception as error:  # a template can call anything that is in its sandbox
            raise InventoryError(
                f"{place}: the template can't be filled in for {host.name}",
                why=f"{type(error).__name__}: {error}",
            ) from error
        raise InventoryError(f"{place}: templates that lead to templates, more than {DEEPEST} deep")

    def _template(self, text: str, *, file: bool) -> Callable[[dict[str, Any]], Any]:
        if (file, text) not in self._templates:
            environment = self._environment(file=file)
            alone = None if file else ALONE.fullmatch(text)
            if alone:
                # as in Ansible `{{ 5 }}` alone is a number, and `{{ list }}` a list
                expression = environment.compile_expression(alone[1], undefined_to_none=False)
                self._templates[file, text] = lambda variables: expression(**variables)
            else:
                self._templates[file, text] = environment.from_string(text).render
        return self._templates[file, text]

    def _environment(self, *, file: bool) -> Any:
        from jinja2 import StrictUndefined, sandbox  # noqa: PLC0415

        if file not in self._environments:
            self._environments[file] = sandbox.SandboxedEnvironment(
                undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=file
            )
        return self._environments[file]

    def _variables(self, host: Host) -> dict[str, Any]:
        if not self._shared:
            self._shared = {
                "groups": {name: list(found) for name, found in self._inventory.members.items()},
                "hostvars": {name: one.variables for name, one in self._inventory.hosts.items()},
            }
        return {
            **host.variables,
            **self._shared,
            "inventory_hostname": host.name,
            "inventory_hostname_short": host.name.partition(".")[0],
            "group_names": list(host.groups),
        }
