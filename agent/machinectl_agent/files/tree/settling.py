"""What is written into a file system reaches the disk while more comes, so that the wait at the end is short."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import Optional

from machinectl_agent.files.tree.durable import start_writing_files, sync_file_system, sync_files

FEW = 64
"""Files that are synced one by one."""


class Settling:
    """`wrote` now and then, `finish` in any case."""

    def __init__(self, folder: int, part: int) -> None:
        """`folder`: a descriptor, of which a copy is kept. `part`: bytes after which the kernel is asked to write
        what it has; it would wait for a fifth of the memory to be full."""
        self._descriptor = os.dup(folder)
        self._part = part
        self._since = 0
        self._thread: Optional[threading.Thread] = None
        self._error: Optional[OSError] = None

    def wrote(self, size: int, *, few: bool = False) -> None:
        """So many bytes more; `few`: of no more than `FEW` files. Waits for nothing."""
        self._since += size
        if self._since >= self._part and not (self._thread and self._thread.is_alive()):
            self._since = 0
            self._thread = threading.Thread(
                target=self._start if few else self._sync, name="settling", daemon=True
            )
            self._thread.start()

    def settle(self, *, few: bool = False) -> None:
        """All of it is on the disk, by one syncfs(2) where they are not few. Raises `OSError`."""
        self._wait()
        if self._error:
            raise self._error
        (sync_files if few else sync_file_system)(self._descriptor)

    def finish(self) -> None:
        self._wait()
        os.close(self._descriptor)

    def _start(self) -> None:
        with suppress(OSError):  # one that is gone again, or is being made; `settle` finds out the rest
            start_writing_files(self._descriptor)

    def _sync(self) -> None:
        try:
            sync_file_system(self._descriptor)
        except OSError as error:
            self._error = error  # the kernel tells a descriptor of it once, and would not again at the end

    def _wait(self) -> None:
        if self._thread:
            self._thread.join()
            self._thread = None
