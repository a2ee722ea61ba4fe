"""Reads YAML as Ansible does (YAML 1.1, `!vault`, `!unsafe`), and keeps where everything stands.

A key that is there twice is an error: YAML takes the last one, and nobody means that.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from machinectl.errors import InventoryError
from machinectl.inventory.json_text import read_as_json
from machinectl.inventory.located import Mapping, Sequence, Unsafe, Vaulted, vault_refusal

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
VAULT_HEAD = "$ANSIBLE_VAULT"
DEEPEST = 100
"""Levels; Python's own limit would come as a traceback."""
LARGEST = 1_000_000
"""Values that a document may stand for."""
DEEP_LINE = re.compile(rf"^[ ?:-]{{{DEEPEST},}}", re.MULTILINE)
"""Behind so much of indentation and `- - -` the level may be as deep."""


class _Loader(_Base):  # type: ignore[misc]
    """SafeLoader whose mappings and lists know their lines."""

    file = ""
    depth = 0

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        self.depth += 1
        try:
            if self.depth > DEEPEST:
                raise yaml.constructor.ConstructorError(
                    None, None, "it is nested too deeply", node.start_mark
                )
            return super().construct_object(node, deep=deep)
        except yaml.YAMLError:
            raise
        except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
            # PyYAML's own constructors, of `!!int x` and `2020-13-45`
            kind = node.tag.removeprefix("tag:yaml.org,2002:")
            raise yaml.constructor.ConstructorError(
                None, None, f"{_excerpt(node.value)!r} is no {kind}", node.start_mark
            ) from error
        finally:
            self.depth -= 1


def _excerpt(value: Any) -> str:
    text = value if isinstance(value, str) else "this"
    return text if len(text) <= 40 else f"{text[:40]}…"


def _construct_map(loader: Any, node: Any) -> Any:
    found = Mapping(loader.file, node.start_mark.line + 1)
    yield found
    own = [id(key) for key, _ in node.value]
    loader.flatten_mapping(node)
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        try:
            there = key in found.lines
        except TypeError:
            raise yaml.constructor.ConstructorError(
                None, None, "a list or mapping can't be a key", key_node.start_mark
            ) from None
        # what `<<` brings may be overruled, it comes first
        if there and id(key_node) in own and found.lines[key] > 0:
            first = found.lines[key]
            raise yaml.constructor.ConstructorError(
                None, None, f"{key!r} is there twice, first in line {first}", key_node.start_mark
            )
        line = key_node.start_mark.line + 1
        found.lines[key] = line if id(key_node) in own else -line
        found[key] = loader.construct_object(value_node, deep=True)
    found.lines = {key: abs(line) for key, line in found.lines.items()}


def _construct_list(loader: Any, node: Any) -> Any:
    found = Sequence(loader.file, node.start_mark.line + 1)
    yield found
    for one in node.value:
        found.lines.append(one.start_mark.line + 1)
        found.append(loader.construct_object(one, deep=True))


def _construct_vault(loader: Any, node: Any) -> Vaulted:
    return Vaulted(loader.construct_scalar(node), f"{loader.file}:{node.start_mark.line + 1}")


def _construct_unsafe(loader: Any, node: Any) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return Unsafe(loader.construct_scalar(node))
    (found,) = (_construct_map if isinstance(node, yaml.MappingNode) else _construct_list)(loader, node)
    return _unsafe(found)


def _unsafe(value: Any) -> Any:
    """All texts in it."""
    if isinstance(value, str):
        return Unsafe(value)
    if isinstance(value, dict):
        for key, one in value.items():
            value[key] = _unsafe(one)
    elif isinstance(value, list):
        value[:] = [_unsafe(one) for one in value]
    return value


_Loader.add_constructor("tag:yaml.org,2002:map", _construct_map)
_Loader.add_constructor("tag:yaml.org,2002:seq", _construct_list)
_Loader.add_constructor("!vault", _construct_vault)
_Loader.add_constructor("!vault-encrypted", _construct_vault)
_Loader.add_constructor("!unsafe", _construct_unsafe)


def read_text(path: Path) -> str:
    """Raises `InventoryError`, also for a file that the vault has encrypted as a whole."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InventoryError(f"{path} is no text", why=f"byte {error.start} is not UTF-8") from error
    except OSError as error:
        raise InventoryError(f"{path} can't be read", why=error.strerror or str(error)) from error
    if text.startswith(VAULT_HEAD):
        raise vault_refusal("this file", f"{path}")
    return text


def parse_yaml(text: str, file: str) -> Any:
    """The document as plain values in `Mapping` and `Sequence`. Raises `InventoryError` with the line."""
    loader = None
    try:
        if _may_be_deep(text):
            _refuse_depth(text, file)
        loader = _Loader(text)
        loader.file = file
        node = loader.get_single_node()
        # deep: what holds itself is an error then
        found = None if node is None else loader.construct_object(node, deep=True)
        if text.lstrip().startswith("{"):
            found = read_as_json(text, found)
        if "*" in text and "&" in text and _size(found, {}) > LARGEST:
            raise InventoryError(f"{file}: its aliases stand for more than {LARGEST} values")
        return found
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{file}:{mark.line + 1}" if mark else file
        problem = (error.problem or error.context or "").replace(
            "found unconstructable recursive node", "an alias stands for itself"
        )
        hint = "" if isinstance(error, yaml.constructor.ConstructorError) else "is the indentation right?"
        raise InventoryError(f"{place}: {problem}", hint=hint) from error
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        raise InventoryError(f"{file}: it can't be read as YAML", why=str(error).splitlines()[0]) from error
    finally:
        if loader is not None:
            loader.dispose()


def _size(value: Any, known: dict[int, int]) -> int:
    """Values in it when all aliases are written out. `known`: those of parts by their id()."""
    if not isinstance(value, (dict, list)):
        return 1
    if id(value) not in known:
        parts = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_size(one, known) for one in parts)
    return known[id(value)]


def _may_be_deep(text: str) -> bool:
    return text.count("[") + text.count("{") > DEEPEST or DEEP_LINE.search(text) is not None


def _refuse_depth(text: str, file: str) -> None:
    """libyaml's composer calls itself for every level, and the stack of C has no exception at its end."""
    depth = 0
    events = _Loader(text)
    try:
        while events.check_event():
            event = events.get_event()
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise InventoryError(f"{file}:{event.start_mark.line + 1}: it is nested too deeply")
    finally:
        events.dispose()
