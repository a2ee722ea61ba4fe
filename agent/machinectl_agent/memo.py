"""What costs time and always comes out the same is worked out once per boot: templates, dockerd's version.

A result is a file in /run, named by the hash of what it depends on. It may be lost at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from typing import Callable

from machinectl_agent.bundle import own_hash

FOLDER = "/run/machinectl/memo"
"""A tmpfs of root's: no power cut leaves half a file, nobody else writes it."""


def once_per_boot(kind: str, depends_on: object, work_out: Callable[[], str], folder: str = "") -> str:
    """`work_out()`, or what it said before. `depends_on`: all that the result depends on beside the agent's own
    bundle, by its repr. An empty result is not kept, and in a checkout nothing is."""
    bundle = own_hash()
    if not folder and not bundle:
        return work_out()
    folder = folder or FOLDER
    name = hashlib.sha256(repr((bundle, kind, depends_on)).encode()).hexdigest()
    path = f"{folder}/{name}"
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except (OSError, ValueError):
        result = work_out()
    if result:
        with contextlib.suppress(OSError):  # no room in /run is no reason to fail here
            os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103 - a plain string
            temporary = f"{path}.{threading.get_native_id()}"
            with open(temporary, "w", encoding="utf-8") as stream:
                stream.write(result)
            os.replace(temporary, path)  # noqa: PTH105
    return result
