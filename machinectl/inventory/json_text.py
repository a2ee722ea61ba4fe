"""JSON is YAML, but for numbers and signs: `1e3` is a text in YAML 1.1. Ansible reads as JSON what is JSON."""

from __future__ import annotations

import json
from typing import Any


def read_as_json(text: str, found: Any) -> Any:
    """What YAML has found, which knows its lines, with JSON's values. As it was where the text is no JSON."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return found
    return _with_values(found, values)


def _with_values(found: Any, values: Any) -> Any:
    if isinstance(found, dict) and isinstance(values, dict) and found.keys() == values.keys():
        for key, one in values.items():
            found[key] = _with_values(found[key], one)
        return found
    if isinstance(found, list) and isinstance(values, list) and len(found) == len(values):
        found[:] = [_with_values(*pair) for pair in zip(found, values, strict=True)]
        return found
    return values
