"""What templates can call: docker-machine's json and prettyjson, the docker client's functions, and Go's own.

Each gets its operands in Go's order, with what is piped in as the last. Any TypeError, ValueError or LookupError is
reported as the template's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from machinectl.cli.gotemplate.values import equal, go_json, go_text, less

WIDEST = 10_000
"""Characters that a width or a padding may ask for."""

_VERB = re.compile(r"%(?P<flags>[-+# 0]*)(?P<width>\d+)?(?:\.(?P<precision>\d*))?(?P<verb>.|$)", re.DOTALL)


def _printf(template: Any, *operands: Any) -> str:
    left = list(operands)

    def one(match: re.Match[str]) -> str:
        verb = match["verb"]
        if verb == "%":
            return "%"
        if not verb:
            return "%!(NOVERB)"
        if not left:
            return f"%!{verb}(MISSING)"
        value = left.pop(0)
        width = _width(match["width"])
        text = _formatted(verb, value, match["precision"], match["flags"])
        if "-" in match["flags"]:
            return text.ljust(width)
        if "0" in match["flags"] and verb in "dfeEgGxXob":
            return text.zfill(width)
        return text.rjust(width)

    text = _VERB.sub(one, _string(template))
    return text + (f"%!(EXTRA {', '.join(map(_named, left))})" if left else "")


def _formatted(verb: str, value: Any, precision: str | None, flags: str) -> str:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    whole = number and (isinstance(value, int) or value.is_integer())
    text = f"%!{verb}({_named(value)})"
    if verb == "v" or (verb == "s" and not number):
        text = go_text(value, nested=True)
        if precision is not None and verb == "s":
            text = text[: _width(precision)]
    elif isinstance(value, str) and verb in "qxX":
        hexadecimal = value.encode().hex()
        text = {"q": go_json(value), "x": hexadecimal, "X": hexadecimal.upper()}[verb]
    elif verb == "t" and isinstance(value, bool):
        text = go_text(value)
    elif verb in "dxXobc" and whole:
        text = format(int(value), ("+" if "+" in flags and verb == "d" else "") + verb)
    elif verb in "feEgG" and number:
        digits = "" if precision is None and verb in "gG" else f".{_width(precision or '6')}"
        text = format(float(value), digits + verb)
    return text


def _named(value: Any) -> str:
    """`int=1`, as fmt shows what a verb is not for."""
    names = {str: "string=", bool: "bool=", int: "int=", float: "float64="}
    return names.get(type(value), "") + go_text(value, nested=True)


def _width(text: str | None) -> int:
    width = int(text[:6]) if text else 0
    if width > WIDEST:
        raise ValueError(f"{text} is too wide")
    return width


def _print(*values: Any) -> str:
    """Spaces stand only between two operands neither of which is a string (fmt.Sprint)."""
    text = ""
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            text += " "
        text += go_text(value, nested=True)
    return text


def _println(*values: Any) -> str:
    return " ".join(go_text(value, nested=True) for value in values) + "\n"


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a string is wanted, not {go_text(value)[:200]}")
    return value


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= WIDEST:
        raise TypeError(f"a number from 0 to {WIDEST} is wanted, not {go_text(value)[:200]}")
    return value


def _join(values: Any, separator: Any = "") -> str:
    # the docker client's order is join LIST SEPARATOR; a pipe brings the list last
    if isinstance(values, str) and isinstance(separator, (list, tuple)):
        values, separator = separator, values
    if not isinstance(values, (list, tuple)):
        raise TypeError(f"a list is wanted, not {go_text(values)[:200]}")
    return _string(separator).join(go_text(one) for one in values)


def _split(text: Any, separator: Any) -> list[str]:
    return _string(text).split(_string(separator)) if separator else list(_string(text))


def _pad(text: Any, before: Any, after: Any) -> str:
    return " " * _number(before) + _string(text) + " " * _number(after) if text else ""


def _truncate(text: Any, length: Any) -> str:
    # with a pipe the length comes first: {{.Name | truncate 8}} is an error in the docker client, not here
    if isinstance(length, str):
        text, length = length, text
    return _string(text)[: _number(length)]


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, (list, tuple, str)):
            _number(key)
            value = ord(value[key]) if isinstance(value, str) else value[key]
        else:
            raise TypeError(f"can't index item of {go_text(value)[:200]}")
    return value


def _slice(value: Any, *ends: Any) -> Any:
    if not isinstance(value, (list, tuple, str)) or len(ends) > 2:
        raise TypeError(f"can't slice {go_text(value)[:200]}")
    start, end = (*map(_number, ends), *(0, len(value))[len(ends) :])
    if not start <= end <= len(value):
        raise IndexError(f"there are {len(value)} elements")
    return value[start:end]


def _length(value: Any) -> int:
    return len(value.encode()) if isinstance(value, str) else len(value)


def _equal(value: Any, *others: Any) -> bool:
    if not others:
        raise TypeError("missing argument for comparison")
    return any(equal(value, other) for other in others)


def _all(*values: Any) -> Any:
    return next((one for one in values if not one), values[-1])


def _any(*values: Any) -> Any:
    return next((one for one in values if one), values[-1])


def _title(text: Any) -> str:
    return re.sub(r"(?<![^\W_])[^\W\d_]", lambda match: match[0].upper(), _string(text))


_JS = {
    "\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D",
}  # fmt: skip


_HTML = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "'": "&#39;", '"': "&#34;"}


def _html(value: Any) -> str:
    return "".join(_HTML.get(sign, sign) for sign in go_text(value))


def _query(value: Any) -> str:
    from urllib.parse import quote_plus  # noqa: PLC0415 - `ls` does without its time

    return quote_plus(go_text(value))


def _js(value: Any) -> str:
    return "".join(
        _JS.get(sign) or (sign if sign >= " " else f"\\u{ord(sign):04X}") for sign in go_text(value)
    )


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": go_json,
    "prettyjson": lambda value: go_json(value, indent=4),
    "join": _join,
    "split": _split,
    "lower": lambda text: _string(text).lower(),
    "upper": lambda text: _string(text).upper(),
    "title": _title,
    "pad": _pad,
    "truncate": _truncate,
    "and": _all,
    "or": _any,
    "not": lambda value: not value,
    "eq": _equal,
    "ne": lambda one, other: not equal(one, other),
    "lt": less,
    "le": lambda one, other: less(one, other) or equal(one, other),
    "gt": lambda one, other: less(other, one),
    "ge": lambda one, other: less(other, one) or equal(one, other),
    "index": _index,
    "slice": _slice,
    "len": _length,
    "print": _print,
    "printf": _printf,
    "println": _println,
    "html": _html,
    "js": _js,
    "urlquery": _query,
}
"""By name."""
