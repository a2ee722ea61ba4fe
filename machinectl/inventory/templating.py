"""Jinja2 templates in settings, over the host's variables; an unknown variable is an error.

Variables may be templates themselves: each is filled in when a template asks for it, and what comes out of a template
is never taken for one again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from collections.abc import Mapping as Dictionary
from pathlib import Path
from typing import TYPE_CHECKING, Any

from machinectl.errors import InventoryError
from machinectl.inventory.located import Mapping, Sequence, Unsafe, Vaulted, place_of, vault_refusal

if TYPE_CHECKING:
    from machinectl.inventory.read import Host, Inventory

MARKS = ("{{", "{%", "{#")
ALONE = re.compile(r"\{\{((?:(?!\}\}|\{\{).)*)\}\}", re.DOTALL)
"""A template that is nothing but one expression."""
DEEPEST = 20
"""Variables whose values are templates themselves, one in the other."""
BUILT_IN: Dictionary[str, Callable[[Host], Any]] = {
    "inventory_hostname": lambda host: host.name,
    "inventory_hostname_short": lambda host: host.name.partition(".")[0],
    "inventory_file": lambda host: host.file,
    "inventory_dir": lambda host: str(Path(host.file).parent),
    "group_names": lambda host: list(host.groups),
}


class Renderer:
    """Fills templates in. Jinja2 is loaded for the first one only."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._environments: dict[bool, Any] = {}
        self._templates: dict[tuple[bool, str], Callable[[dict[str, Any]], Any]] = {}
        """Compiled: a group's template is the same for all of its hosts."""
        self._shared: dict[str, Any] = {}
        self._at: list[tuple[Host, str]] = []
        """What is being filled in, the innermost last."""

    def fill(self, value: Any, host: Host, place: str) -> Any:
        """The value with all templates in it filled in. Raises `InventoryError`."""

        def refuse(one: Vaulted) -> Any:
            raise vault_refusal("this value", one.place or place)

        return self._fill(value, host, place, refuse)

    def _fill(self, value: Any, host: Host, place: str, vaulted: Callable[[Vaulted], Any]) -> Any:
        if isinstance(value, Vaulted):
            return vaulted(value)
        if isinstance(value, str):
            marked = not isinstance(value, Unsafe) and any(mark in value for mark in MARKS)
            return self.text(value, host, place) if marked else value
        if isinstance(value, dict):
            filled = Mapping(getattr(value, "file", ""), getattr(value, "line", 0))
            filled.lines = dict(getattr(value, "lines", {}))
            for key, one in value.items():
                filled[key] = self._fill(one, host, place_of(value, key) or place, vaulted)
            return filled
        if isinstance(value, list):
            rows = Sequence(getattr(value, "file", ""), getattr(value, "line", 0))
            rows.lines = list(getattr(value, "lines", []))
            for index, one in enumerate(value):
                rows.append(self._fill(one, host, place_of(value, index) or place, vaulted))
            return rows
        return value

    def text(self, template: str, host: Host, place: str, *, file: bool = False) -> Any:
        """`file`: the text of a file, which is nothing but text. `{{ x }}` alone has the kind of x elsewhere."""
        import jinja2  # noqa: PLC0415 - 50 ms that inventories without templates don't need

        from machinectl.inventory.environment import look_at  # noqa: PLC0415

        if len(self._at) >= DEEPEST:
            raise InventoryError(f"{place}: variables that lead to variables, more than {DEEPEST} deep")
        self._at.append((host, place))
        try:
            result = self._template(template, file=file)(self._variables(host))
            look_at(result)
        except InventoryError:
            raise
        except jinja2.TemplateError as error:
            raise InventoryError(
                f"{place}: the template can't be filled in for {host.name}",
                why=_reason(error),
                # docker's own templates, of log-opts and the like, are Go's: {{.Name}}
                hint=f"is it a template of docker's? write !unsafe {template!r}"
                if not file and re.search(r"\{\{-?\s*\.", template)
                else "`machinectl inventory list` has the hosts' variables",
            ) from error
        except Exception as error:  # a template can call anything that is in its sandbox
            raise InventoryError(
                f"{place}: the template can't be filled in for {host.name}",
                why=f"{type(error).__name__}: {error}",
            ) from error
        finally:
            self._at.pop()
        return result

    def _variable(self, name: str, value: Any) -> Any:
        """A variable that a template has asked for."""
        from machinectl.inventory.environment import encrypted  # noqa: PLC0415

        host, place = self._at[-1]
        if name in self._shared or name in BUILT_IN:
            return value
        # a mapping may hold both what is encrypted and what is wanted: what is looked at counts
        return self._fill(value, host, f"{place.partition(' (')[0]} (variable {name})", encrypted)

    def _template(self, text: str, *, file: bool) -> Callable[[dict[str, Any]], Any]:
        if (file, text) not in self._templates:
            environment = self._environment(file=file)
            alone = None if file else ALONE.fullmatch(text)
            if alone:
                # as in Ansible `{{ 5 }}` alone is a number, and `{{ list }}` a list
                self._templates[file, text] = environment.compile_expression(
                    alone[1], undefined_to_none=False
                )
            else:
                self._templates[file, text] = environment.from_string(text).render
        return self._templates[file, text]

    def _environment(self, *, file: bool) -> Any:
        from machinectl.inventory.environment import environment  # noqa: PLC0415

        if file not in self._environments:
            self._environments[file] = environment(self._variable, file=file)
        return self._environments[file]

    def _variables(self, host: Host) -> dict[str, Any]:
        if not self._shared:
            hosts = self._inventory.hosts
            self._shared = {
                "groups": {name: list(found) for name, found in self._inventory.members.items()},
                "hostvars": _HostVars({name: _OneHost(self, one) for name, one in hosts.items()}),
            }
        return {
            **host.variables,
            **self._shared,
            **{name: value(host) for name, value in BUILT_IN.items()},
        }

    def of_host(self, host: Host, name: str) -> Any:
        """A variable of another host's."""
        place = self._at[-1][1] if self._at else ""
        self._at.append((host, place))
        try:
            return self._variable(name, host.variables[name])
        finally:
            self._at.pop()


class _OneHost(Dictionary[str, Any]):
    """`hostvars[NAME]`."""

    def __init__(self, renderer: Renderer, host: Host) -> None:
        self._renderer, self._host = renderer, host

    def __getitem__(self, name: str) -> Any:
        if name in BUILT_IN:
            return BUILT_IN[name](self._host)
        return self._renderer.of_host(self._host, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._host.variables)

    def __len__(self) -> int:
        return len(self._host.variables)


class _HostVars(Dictionary[str, Any]):
    """`hostvars`. Not a dict: it would be filled in as a whole."""

    def __init__(self, hosts: Dictionary[str, _OneHost]) -> None:
        self._hosts = hosts

    def __getitem__(self, name: str) -> Any:
        return self._hosts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._hosts)

    def __len__(self) -> int:
        return len(self._hosts)


def _reason(error: Exception) -> str:
    text = str(getattr(error, "message", None) or error or type(error).__name__)
    line = getattr(error, "lineno", None)
    return f"line {line} of it: {text}" if line and line > 1 else text
