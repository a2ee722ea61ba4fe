"""What another program writes into a folder reaches the disk while it comes, so that the wait at the end is short."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import Optional

from machinectl_agent.files.tree.durable import sync_file_system

PART = 256 * 1024 * 1024
"""Bytes after which the kernel is asked to write what it has. It would wait for a fifth of the memory to be full."""


class Settling:
    """`wrote` now and then, `finish` in any case."""

    def __init__(self, folder: str, part: int = PART) -> None:
        self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._part = part
        self._since = 0
        self._thread: Optional[threading.Thread] = None

    def wrote(self, size: int) -> None:
        """So many bytes more. Waits for nothing."""
        self._since += size
        if self._since >= self._part and not (self._thread and self._thread.is_alive()):
            self._since = 0
            self._thread = threading.Thread(target=self._sync, name="settling", daemon=True)
            self._thread.start()

    def settle(self) -> None:
        """All of it is on the disk (syncfs(2)). Raises `OSError`."""
        self._wait()
        sync_file_system(self._descriptor)

    def finish(self) -> None:
        self._wait()
        os.close(self._descriptor)

    def _sync(self) -> None:
        with suppress(OSError):  # `settle` says it
            sync_file_system(self._descriptor)

    def _wait(self) -> None:
        if self._thread:
            self._thread.join()
            self._thread = None
