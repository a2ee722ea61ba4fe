"""What a template is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from machinectl.errors import UsageError


class TemplateError(UsageError):
    """The template can't be parsed, or asks for what is not there."""


@dataclass(frozen=True)
class Text:
    """What stands between actions."""

    text: str


@dataclass(frozen=True)
class Action:
    """`{{…}}` that prints, or opens a block: `keyword` is empty, `if`, `range`, `with`, `break` or `continue`."""

    keyword: str
    pipeline: Pipeline
    body: tuple[Node, ...] = ()
    otherwise: tuple[Node, ...] = ()


Node = Text | Action


@dataclass(frozen=True)
class Field:
    """`.A.B`, `$x.A` or `(…).A`; no names: the value itself."""

    names: tuple[str, ...]
    of: Operand | None = None
    """None: the dot."""


@dataclass(frozen=True)
class Variable:
    """`$x`; an empty name: `$`, what the whole template is rendered for."""

    name: str


@dataclass(frozen=True)
class Literal:
    """A string, number, boolean or nil in the template."""

    value: Any


@dataclass(frozen=True)
class Call:
    """A function and its operands, or with an empty name the one operand alone."""

    name: str
    operands: tuple[Operand, ...]


@dataclass(frozen=True)
class Pipeline:
    """Calls, each of which gets the result of the one before as its last operand."""

    calls: tuple[Call, ...]
    variables: tuple[str, ...] = ()
    """`$x :=`: what takes the result; of a range two, for key and element."""
    assigns: bool = False
    """`=` instead of `:=`: the variable is there already."""


Operand = Field | Variable | Literal | Pipeline | Call

NOTHING = Pipeline((Call("", (Literal(""),)),))
"""Of actions that have none."""
