"""The part of Go's text/template that people use with `ls -f` and `inspect -f`.

Text, `{{.Field.Field}}`, pipelines, strings and numbers, parentheses, `if` and `range` with `else` and `end`,
comments, trim markers, and the functions of `FUNCTIONS`. No variables, no `define`. An unknown field is an
error that lists the known ones: docker-machine's silent `<no value>` in a script helps nobody.

The packages that do this are either bindings that need a Go compiler or months old and before their 1.0.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from machinectl.errors import UsageError

_ACTION = re.compile(r"""\{\{(?P<body>(?:"(?:\\.|[^"\\])*"|`[^`]*`|[^"`])*?)\}\}""", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:\\.|[^"\\])*"|`[^`]*`)|(?P<number>-?\d+(?:\.\d+)?)
    |(?P<field>\.(?:[^\W\d]\w*(?:\.[^\W\d]\w*)*)?)|(?P<word>[^\W\d]\w*)|(?P<mark>[()|]))""",
    re.VERBOSE,
)


class TemplateError(UsageError):
    """The template can't be parsed, or asks for what is not there."""


@dataclass(frozen=True)
class Text:
    """What stands between actions."""

    text: str


@dataclass(frozen=True)
class Action:
    """`{{…}}` that prints, or opens a block: `keyword` is empty, `if` or `range`."""

    keyword: str
    pipeline: Pipeline
    body: tuple[Node, ...] = ()
    otherwise: tuple[Node, ...] = ()


Node = Text | Action


@dataclass(frozen=True)
class Field:
    """`.A.B`; no names: the dot itself."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Literal:
    """A string, number or boolean in the template."""

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


Operand = Field | Literal | Pipeline | Call


def parse_template(source: str) -> tuple[Node, ...]:
    """The template's tree. Raises TemplateError."""
    parts: list[str] = []  # text, action, text, …, text
    position = 0
    for match in _ACTION.finditer(source):
        parts += [source[position : match.start()], match["body"]]
        position = match.end()
    parts.append(source[position:])
    if "{{" in parts[-1]:
        raise TemplateError("template parsing error: unclosed action")
    for index in range(1, len(parts), 2):
        if re.match(r"-\s", parts[index]):
            parts[index - 1] = parts[index - 1].rstrip()
            parts[index] = parts[index][1:]
        if re.search(r"\s-$", parts[index]):
            parts[index + 1] = parts[index + 1].lstrip()
            parts[index] = parts[index][:-1]
    nodes, ended, _ = _parse_block(parts, 0)
    if ended:
        raise TemplateError(f"template parsing error: unexpected {{{{{ended}}}}}")
    return nodes


def _parse_block(parts: list[str], index: int) -> tuple[tuple[Node, ...], str, int]:
    """The nodes up to `{{end}}`, `{{else}}` or the end; which of them; where to go on."""
    nodes: list[Node] = []
    while True:
        if parts[index]:
            nodes.append(Text(parts[index]))
        if index + 1 == len(parts):
            return tuple(nodes), "", index
        body = parts[index + 1].strip()
        index += 2
        if body in ("end", "else"):
            return tuple(nodes), body, index
        if body.startswith("/*"):
            continue
        keyword, _, rest = body.partition(" ")
        if keyword not in ("if", "range"):
            nodes.append(Action("", _parse_pipeline(body)))
            continue
        inner, ended, index = _parse_block(parts, index)
        otherwise: tuple[Node, ...] = ()
        if ended == "else":
            otherwise, ended, index = _parse_block(parts, index)
        if ended != "end":
            raise TemplateError(f"template parsing error: {{{{{keyword}}}}} has no {{{{end}}}}")
        nodes.append(Action(keyword, _parse_pipeline(rest), inner, otherwise))


def _parse_pipeline(body: str) -> Pipeline:
    tokens: list[tuple[str, str]] = []
    position = 0
    body = body.strip()
    while position < len(body):
        match = _TOKEN.match(body, position)
        if not match or not match.lastgroup:
            raise TemplateError(f"template parsing error: unexpected {body[position:]!r}")
        tokens.append((match.lastgroup, match[match.lastgroup]))
        position = match.end()
    pipeline, left = _take_pipeline(tokens)
    if left:
        raise TemplateError(f"template parsing error: unexpected {left[0][1]!r}")
    return pipeline


def _take_pipeline(tokens: list[tuple[str, str]]) -> tuple[Pipeline, list[tuple[str, str]]]:
    calls: list[Call] = []
    while True:
        operands: list[Operand] = []
        while tokens and tokens[0][1] not in (")", "|"):
            (kind, text), *tokens = tokens
            if kind == "mark":
                inner, tokens = _take_pipeline(tokens)
                if not tokens:
                    raise TemplateError("template parsing error: a parenthesis is not closed")
                tokens = tokens[1:]
                operands.append(inner)
            else:
                operands.append(_operand(kind, text))
        calls.append(_call(operands, first=not calls))
        if not tokens or tokens[0][1] == ")":
            return Pipeline(tuple(calls)), tokens
        tokens = tokens[1:]


def _operand(kind: str, text: str) -> Operand:
    if kind == "field":
        return Field(tuple(text[1:].split(".")) if text != "." else ())
    if kind == "number":
        return Literal(float(text) if "." in text else int(text))
    if kind == "string":
        return Literal(text[1:-1] if text[0] == "`" else json.loads(text))
    if text in ("true", "false"):
        return Literal(text == "true")
    if text not in FUNCTIONS:
        known = ", ".join(sorted(FUNCTIONS))
        raise TemplateError(
            f'template parsing error: function "{text}" not defined', why=f"there are {known}"
        )
    return Call(text, ())


def _call(operands: list[Operand], *, first: bool) -> Call:
    if not operands:
        raise TemplateError("template parsing error: missing value for command")
    head, *rest = operands
    if isinstance(head, Call):
        return Call(head.name, tuple(rest))
    if rest or not first:
        raise TemplateError("template parsing error: only a function can have operands")
    return Call("", (head,))


def render_template(nodes: Sequence[Node], dot: Any) -> str:
    """The text for one value. Raises TemplateError for a field that is not there."""
    written: list[str] = []
    for node in nodes:
        if isinstance(node, Text):
            written.append(node.text)
            continue
        value = _evaluate(node.pipeline, dot)
        if not node.keyword:
            written.append(go_text(value))
        elif node.keyword == "if":
            written.append(render_template(node.body if value else node.otherwise, dot))
        else:
            values = [value[key] for key in sorted(value)] if isinstance(value, Mapping) else value or []
            if not isinstance(values, (list, tuple)):
                raise TemplateError(f"template: range can't iterate over {go_text(value)}")
            written += [render_template(node.body, one) for one in values]
            if not values:
                written.append(render_template(node.otherwise, dot))
    return "".join(written)


def _evaluate(operand: Operand, dot: Any) -> Any:
    if isinstance(operand, Literal):
        return operand.value
    if isinstance(operand, Field):
        for name in operand.names:
            if not isinstance(dot, Mapping) or name not in dot:
                known = ", ".join(f".{one}" for one in dot) if isinstance(dot, Mapping) else "no fields"
                raise TemplateError(
                    f"template: can't evaluate field {name} of <.{'.'.join(operand.names)}>",
                    why=f"there are {known}" if isinstance(dot, Mapping) else f"{go_text(dot)} has {known}",
                )
            dot = dot[name]
        return dot
    if isinstance(operand, Call):
        return _apply(operand, dot, [])
    piped: list[Any] = []
    for call in operand.calls:
        piped = [_apply(call, dot, piped)]
    return piped[0]


def _apply(call: Call, dot: Any, piped: list[Any]) -> Any:
    operands = [_evaluate(one, dot) for one in call.operands] + piped
    if not call.name:
        return operands[0]
    try:
        return FUNCTIONS[call.name](*operands)
    except (TypeError, KeyError, IndexError, ValueError) as error:
        raise TemplateError(f"template: error calling {call.name}", why=str(error)) from error


def go_text(value: Any, *, nested: bool = False) -> str:
    """How Go's fmt prints it (%v)."""
    if value is None:
        return "<nil>" if nested else "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{key}:{go_text(value[key], nested=True)}' for key in sorted(value))}]"
    if isinstance(value, (list, tuple)):
        return f"[{' '.join(go_text(one, nested=True) for one in value)}]"
    return str(value)


def go_json(value: Any, *, indent: int | None = None, sort: bool = True) -> str:
    """How Go's encoding/json writes it: no spaces or four, keys of maps sorted, <, > and & escaped."""
    separators = (",", ": ") if indent else (",", ":")
    text = json.dumps(value, ensure_ascii=False, sort_keys=sort, indent=indent, separators=separators)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = value[key]
    return value


def _all(*values: Any) -> Any:
    return next((one for one in values if not one), values[-1])


def _any(*values: Any) -> Any:
    return next((one for one in values if one), values[-1])


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": go_json,
    "prettyjson": lambda value: go_json(value, indent=4),
    "index": _index,
    "len": len,
    "eq": lambda value, *others: value in others,
    "ne": lambda value, other: value != other,
    "not": lambda value: not value,
    "and": _all,
    "or": _any,
}
"""json and prettyjson are docker-machine's; the others are Go's own."""
