"""Host patterns of inventory files: `web[01:50]`, `db-[a:f:2]`, `host:2222`, `[fe80::1]:22`."""

from __future__ import annotations

import re
import string

from machinectl.errors import InventoryError

RANGE = re.compile(r"\[([^\[\]:]*):([^\[\]:]*)(?::([0-9]+))?\]")
PORT = re.compile(r"^(?P<host>[^:\[\]]*(?:\[[^\]]*\][^:\[\]]*)*):(?P<port>[0-9]+)$")
BRACKETED = re.compile(r"^\[(?P<host>[^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*)\](?::(?P<port>[0-9]+))?$")
MOST = 100_000


def expand(text: str, place: str) -> tuple[list[str], int | None]:
    """The names and the port, None where there is none. Raises `InventoryError`."""
    port = None
    match = BRACKETED.match(text)
    # [fe80::1] is an address; [1:3] and [1:9:2] are ranges
    if match and (match["port"] or "::" in match["host"] or match["host"].count(":") > 2):
        text, port = match["host"], int(match["port"]) if match["port"] else None
    else:
        match = PORT.match(text)
        if match:
            text, port = match["host"], int(match["port"])
    names = _expand(text, place)
    return names, port


def _expand(text: str, place: str) -> list[str]:
    match = RANGE.search(text)
    if not match:
        if "[" in text:
            raise InventoryError(f"{place}: {text!r} is no range", hint="write [01:50] or [a:f]")
        return [text]
    first, last, step = match[1], match[2], int(match[3] or 1)
    values = _values(first or "0", last, step, f"{place}: the range {match[0]}")
    rest = _expand(text[match.end() :], place)
    if len(values) * len(rest) > MOST:
        raise InventoryError(f"{place}: {text} stands for more than {MOST} hosts")
    return [f"{text[: match.start()]}{one}{tail}" for one in values for tail in rest]


def _values(first: str, last: str, step: int, what: str) -> list[str]:
    if not last:
        raise InventoryError(f"{what} has no end", hint="write [01:50]")
    if step < 1:
        raise InventoryError(f"{what} has no step forward")
    letters = string.ascii_letters
    if len(first) == len(last) == 1 and first in letters and last in letters:
        begin, end = letters.index(first), letters.index(last)
        if begin > end:
            raise InventoryError(f"{what} ends before it begins")
        return list(letters[begin : end + 1 : step])
    if not first.isdecimal() or not last.isdecimal():
        raise InventoryError(f"{what} goes neither from number to number nor from letter to letter")
    if first.startswith("0") and len(first) > 1 and len(first) != len(last):
        raise InventoryError(f"{what}: both ends have to be equally long", hint="write [01:50]")
    if int(first) > int(last):
        raise InventoryError(f"{what} ends before it begins")
    if (int(last) - int(first)) // step > MOST:
        raise InventoryError(f"{what} is longer than {MOST}")
    width = len(first) if first.startswith("0") and len(first) > 1 else 0
    return [f"{number:0{width}d}" for number in range(int(first), int(last) + 1, step)]
