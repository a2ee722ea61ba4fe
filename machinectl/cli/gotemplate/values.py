"""How Go reads, prints and compares values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from machinectl.cli.gotemplate.tree import TemplateError

_ESCAPE = re.compile(
    r"\\(?:(?P<plain>[abfnrtv\\'\"])|(?P<octal>[0-7]{3})|x(?P<hex>[0-9a-fA-F]{2})"
    r"|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})|(?P<wrong>.?))",
    re.DOTALL,
)
_PLAIN = dict(zip("abfnrtv\\'\"", "\a\b\f\n\r\t\v\\'\"", strict=True))


def unquote(text: str) -> str | int:
    """A Go string in double or back quotes, or a character's number. Raises TemplateError."""
    inner = text[1:-1]
    if text[0] == "`":
        return inner
    value = _ESCAPE.sub(_escaped, inner)
    if text[0] == "'":
        if len(value) != 1:
            raise TemplateError(f"template parsing error: malformed character constant: {text}")
        return ord(value)
    return value


def _escaped(match: re.Match[str]) -> str:
    if match["plain"]:
        return _PLAIN[match["plain"]]
    if match["wrong"] is not None:
        raise TemplateError(f"template parsing error: unknown escape \\{match['wrong']} in a string")
    number = (
        int(match["octal"], 8) if match["octal"] else int(match["hex"] or match["short"] or match["long"], 16)
    )
    if number > 0x10FFFF or 0xD800 <= number < 0xE000:
        raise TemplateError("template parsing error: a string holds no Unicode character")
    return chr(number)


def go_text(value: Any, *, nested: bool = False) -> str:
    """How Go's fmt prints it (%v)."""
    if value is None:
        return "<nil>" if nested else "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{key}:{go_text(value[key], nested=True)}' for key in sorted(value))}]"
    if isinstance(value, (list, tuple)):
        return f"[{' '.join(go_text(one, nested=True) for one in value)}]"
    return str(value)


def go_json(value: Any, *, indent: int | None = None, sort: bool = True) -> str:
    """How Go's encoding/json writes it: no spaces or four, keys of maps sorted, <, > and & escaped."""
    separators = (",", ": ") if indent else (",", ":")
    text = json.dumps(
        value, ensure_ascii=False, sort_keys=sort, indent=indent, separators=separators, allow_nan=False
    )
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def equal(one: Any, other: Any) -> bool:
    """Go's eq of basic values. Raises ValueError for values of different kinds."""
    if _kind(one) != _kind(other) and None not in (one, other):
        raise ValueError("incompatible types for comparison")
    return bool(one == other)


def less(one: Any, other: Any) -> bool:
    """Go's lt of numbers or strings. Raises ValueError."""
    if _kind(one) != _kind(other) or _kind(one) not in ("number", "string"):
        raise ValueError("incompatible types for comparison")
    return bool(one < other)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    return "string" if isinstance(value, str) else type(value).__name__
