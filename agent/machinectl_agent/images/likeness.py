"""Whether two images are the same where their ids can't say: the classic stores number an image by its configuration,
containerd's by its manifest. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Mapping, Sequence

KEYS = ("Cmd", "Entrypoint", "Env", "ExposedPorts", "Labels", "User", "Volumes", "WorkingDir")
"""Of an image's Config: what every engine tells, and a container notices."""


def likeness(created: Any, config: Any, layers: Sequence[str]) -> str:
    """A digest; empty parts count as missing, as engines differ in them, and so do parts of seconds."""
    known = config if isinstance(config, dict) else {}
    parts = [str(created or "")[:19], {key: known[key] for key in KEYS if known.get(key)}, list(layers)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def likeness_of(image: Mapping[str, Any]) -> str:
    """Of an image as dockerd's inspect tells it."""
    layers = (image.get("RootFS") or {}).get("Layers") or ()
    return likeness(image.get("Created"), image.get("Config"), layers)
