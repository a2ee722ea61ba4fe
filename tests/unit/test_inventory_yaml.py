"""YAML and JSON of inventories: what is not read says so with its line, and nothing brings Python or libyaml down."""

from __future__ import annotations

import pytest

from machinectl.errors import InventoryError
from machinectl.inventory.yaml_file import parse_yaml

BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{after}: &{after} [{','.join([f'*{before}'] * 10)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[" * 100_000, "F:1: it is nested too deeply"),
        ("{a: " * 50_000, "F:1: it is nested too deeply"),
        (" ".join("-" * 20_000), "F:1: it is nested too deeply"),
        ("\n".join(" " * level + "a:" for level in range(300)), "F:101: it is nested too deeply"),
        (BOMB, "aliases stand for more than"),
        ("a: &x [*x]", "F:1: an alias stands for itself"),
        ("&x {a: *x}", "F:1: an alias stands for itself"),
        ("a: 1\nb: &x {c: {d: *x}}", "F:2: an alias stands for itself"),
        ("a: !!seq x", "F:1: 'x' is no seq"),
        ("a: !!map [x]", "F:1: 'this' is no map"),
        ("a: !!bool x", "F:1: 'x' is no bool"),
        ("a: 1\nb: 2020-13-45", "F:2: '2020-13-45' is no timestamp"),
        (f"a: {'1' * 5000}", "is no int"),
        ("a: !foo x", "'!foo'"),
        ("a: !vault {a: b}", "F:1: expected a scalar node"),
        ("a: {1: x, true: y}", "F:1: True is there twice"),
        ('{"a": 1,\n "a": 2}', "F:2: 'a' is there twice, first in line 1"),
        ("? {a: b}\n: c", "F:1: a list or mapping can't be a key"),
        ("a: 1\n---\nb: 2", "F:2: but found another document"),
        ("a: \0", "control characters"),
        ("a: 1\nb: c: d", "F:2: "),
    ],
    ids=range(21),
)
def test_what_is_refused(text, what):
    with pytest.raises(InventoryError) as error:
        parse_yaml(text, "F")
    assert what in str(error.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 0644\nb: 1e3\nc: yes\nd: 1:30\ne: ~", {"a": 420, "b": "1e3", "c": True, "d": 90, "e": None}),
        ('{"a": 1e3, "b": [{"c": 2E1}]}', {"a": 1000.0, "b": [{"c": 20.0}]}),
        ('{\n\t"a": 1}', {"a": 1}),
        ("{a: 1e3}", {"a": "1e3"}),
        ("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}", {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}}),
        ("\ufeffa: 1", {"a": 1}),
        ("", None),
        ("# nothing", None),
    ],
)
def test_what_is_read(text, value):
    assert parse_yaml(text, "F") == value


def test_lines_are_known():
    found = parse_yaml('{"a": 1e3,\n "b": {"c":\n 5}}', "F")
    assert (found.place("a"), found.place("b"), found["b"].place("c")) == ("F:1", "F:2", "F:2")
