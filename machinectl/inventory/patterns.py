"""Host patterns as Ansible has them: `web`, `web*`, `~web\\d+`, `web:&eu:!web3`, `web[0]`, `web[0:2]`, `all`.

The order of the words does not matter: first all that is named, then what is in every `&`, then less every `!`.
"""

from __future__ import annotations

import difflib
import fnmatch
import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from machinectl.errors import InventoryError

if TYPE_CHECKING:
    from machinectl.inventory.read import Inventory

SUBSCRIPT = re.compile(r"^(?P<base>.+)\[(?:(?P<one>-?[0-9]+)|(?P<first>[0-9]*):(?P<last>-?[0-9]*))\]$")
GLOB = re.compile(r"[?*\[]")


def select(inventory: Inventory, patterns: Sequence[str], limit: Sequence[str]) -> list[str]:
    """Names in the inventory's order. Raises `InventoryError` for a word that matches nothing: a `!web33` that is
    mistyped would otherwise choose too much."""
    for texts in (patterns, limit):
        if texts and not any(split_pattern(one) for one in texts):
            # a variable of a script's that is empty must not mean every machine
            raise InventoryError("a pattern is empty", hint="`all` means every machine")
    chosen = _chosen(inventory, patterns)
    if limit:
        chosen &= _chosen(inventory, limit)
    return [name for name in inventory.hosts if name in chosen]


def split_pattern(text: str) -> list[str]:
    """At `,` and `:`, but not inside of brackets or of an IPv6 address; a regular expression ends the text."""
    before, tilde, expression = text.partition("~")
    if tilde and (not before or before[-1] in ",:!&"):
        sign = before[-1] if before and before[-1] in "!&" else ""
        return [*split_pattern(before.removesuffix(sign)), f"{sign}~{expression}"] if before else [text]
    return [
        word
        for part in _split(text, ",")
        for word in ([part] if _is_ipv6(part.lstrip("!&")) else _split(part, ":"))
    ]


def _split(text: str, sign: str) -> list[str]:
    words, depth = [""], 0
    for letter in text:
        depth += {"[": 1, "]": -1}.get(letter, 0)
        if letter == sign and depth <= 0:
            words.append("")
        else:
            words[-1] += letter
    return [word.strip() for word in words if word.strip()]


def _is_ipv6(text: str) -> bool:
    if text.count(":") < 2:
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def combine(patterns: Sequence[str], match: Callable[[str], Iterable[str]]) -> set[str]:
    """What patterns choose, `match` telling what a word without its sign means."""
    words = [word for text in patterns for word in split_pattern(text)]
    named = [word for word in words if word[0] not in "!&"]
    chosen = {name for word in named or ["all"] for name in match(word)}
    for word in words:
        if word[0] == "&":
            chosen &= set(match(word[1:]))
        elif word[0] == "!":
            chosen -= set(match(word[1:]))
    return chosen


def _chosen(inventory: Inventory, patterns: Sequence[str]) -> set[str]:
    return combine(patterns, lambda word: _match(inventory, word))


def _match(inventory: Inventory, word: str) -> list[str]:
    exact = word in inventory.hosts or word in inventory.groups
    subscript = None if exact else SUBSCRIPT.match(word)
    base = subscript["base"] if subscript else word
    test = _test(base)
    groups = [name for name in inventory.groups if test(name)]
    inside = dict.fromkeys(host for name in groups for host in inventory.members[name])
    if not groups or base.startswith("~") or GLOB.search(base) or "." in base:
        inside.update(dict.fromkeys(name for name in inventory.hosts if test(name)))
    if not inside and not groups:
        raise _nothing(inventory, word)
    found = list(inside)
    return _part(found, subscript, word) if subscript else found


def _test(base: str) -> Callable[[str], bool]:
    if base == "*":
        return lambda name: name == "all"
    if base.startswith("~"):
        try:
            expression = re.compile(base[1:])
        except re.error as error:
            raise InventoryError(f"{base}: no regular expression", why=str(error)) from error
        return lambda name: expression.match(name) is not None
    return lambda name: fnmatch.fnmatchcase(name, base)


def _part(found: list[str], subscript: re.Match[str], word: str) -> list[str]:
    """`[0]`, `[-1]`, `[1:3]`: both ends belong to it."""
    if subscript["one"]:
        number = int(subscript["one"])
        if not -len(found) <= number < len(found):
            raise InventoryError(f"{word}: there are {len(found)} hosts", hint="the first one is [0]")
        return [found[number]]
    first, last = int(subscript["first"] or 0), int(subscript["last"] or -1)
    return found[first : None if last == -1 else last + 1]


def _nothing(inventory: Inventory, word: str) -> InventoryError:
    near = difflib.get_close_matches(word, [*inventory.hosts, *inventory.groups], 1, 0.65)
    return InventoryError(
        f"no host and no group of the inventory matches {word!r}",
        hint=f"did you mean {near[0]!r}?" if near else "`machinectl inventory graph` shows them",
    )
