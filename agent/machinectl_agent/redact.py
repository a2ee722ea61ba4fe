"""What a plan, a log or `inspect` may show of daemon.json: log drivers take tokens, proxies passwords in URLs."""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "(hidden)"

_KEY = re.compile(r"token|secret|passw|credential", re.IGNORECASE)
_KEY_IN_TEXT = re.compile(
    r'("[^"]*(?:token|secret|passw|credential)[^"]*": ")(?:[^"\\]|\\.)*(")', re.IGNORECASE
)
_URL = re.compile(r'(://)[^/@\s"]+@')


def redact_text(text: str) -> str:
    """A daemon.json as text, its layout kept."""
    return _URL.sub(rf"\1{HIDDEN}@", _KEY_IN_TEXT.sub(rf"\1{HIDDEN}\2", text))


def redact_document(value: Any, key: str = "") -> Any:
    """The same for a document: values of telling keys, and users and passwords in URLs."""
    if isinstance(value, dict):
        return {name: redact_document(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [redact_document(one, key) for one in value]
    if isinstance(value, str):
        return HIDDEN if _KEY.search(key) else _URL.sub(rf"\1{HIDDEN}@", value)
    return value
