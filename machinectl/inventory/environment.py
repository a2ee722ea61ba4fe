"""Jinja2's environment for inventories: a sandbox in which variables are filled in when a template asks for them.

Loading this module loads Jinja2 (50 ms): inventories without templates don't need it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import StrictUndefined
from jinja2.filters import do_default
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from machinectl.inventory.located import Vaulted


class Encrypted(StrictUndefined):
    """What the vault keeps, inside of a variable: an error as soon as it is looked at, and no case for `default`."""


def encrypted(value: Vaulted) -> Encrypted:
    return Encrypted(hint=f"{value.place or 'a value'} is encrypted with Ansible's vault")


def _default(value: Any, default_value: Any = "", boolean: bool = False) -> Any:
    return str(value) if isinstance(value, Encrypted) else do_default(value, default_value, boolean)


def _is_defined(value: Any) -> bool:
    return isinstance(value, Encrypted) or not isinstance(value, Undefined)


def environment(variable: Callable[[str, Any], Any], *, file: bool) -> ImmutableSandboxedEnvironment:
    """`variable` makes of a variable's name and value what a template sees. `file`: for the text of a file, whose
    lines with nothing but a statement leave no empty line, as in Ansible."""

    class Lazy(Context):
        """Variables as they are written, until one is asked for."""

        def resolve_or_missing(self, key: str) -> Any:
            value = super().resolve_or_missing(key)
            # what the template itself has set is no variable of the inventory
            return value if key in self.vars or key not in self.parent else variable(key, value)

    made = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=file
    )
    made.context_class = Lazy
    made.filters["default"] = made.filters["d"] = _default
    made.tests["defined"] = _is_defined
    made.tests["undefined"] = lambda value: not _is_defined(value)
    return made


def look_at(value: Any) -> None:
    """Raises `UndefinedError` for what is not defined, or encrypted, anywhere in it."""
    if isinstance(value, Undefined):
        str(value)
    elif isinstance(value, dict):
        for one in value.values():
            look_at(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            look_at(one)
