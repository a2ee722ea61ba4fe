"""Locks between processes: flock on files that are never deleted (deleting a lock file is a race of its own).

The kernel lets go of a lock when its holder dies, however it dies; there is nothing to clean.
The holder writes its process id and command into the file, only for the message that others get.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from machinectl.errors import LockedError, StoreError

_POLL = 0.05
"""Seconds between two tries; flock(2) itself can't be told when to give up."""


@contextmanager
def locked(path: Path, *, what: str, wait: float, machine: str = "") -> Iterator[None]:
    """Holds `path`'s lock. `what` is what the message calls it; `wait` seconds are spent on getting it.

    Not reentrant: the second time in one process waits like anybody else. Raises LockedError (exit status 4).
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"{path} can't be opened", why=error.strerror or str(error)) from error
    try:
        _acquire(descriptor, path, what=what, wait=wait, machine=machine)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, _signature(), 0)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path, *, what: str, wait: float, machine: str) -> None:
    deadline = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise StoreError(
                    f"{path} can't be locked",
                    why=error.strerror or str(error),
                    hint="keep the store on a filesystem with working locks (flock)",
                ) from error
        if time.monotonic() >= deadline:
            holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
            raise LockedError(
                f"{what} is in use by another machinectl",
                why=f"the lock is held by {holder}" if holder else "the lock is held by another program",
                hint="wait for it to end and run the same command again",
                machine=machine,
            )
        time.sleep(_POLL)


def _signature() -> bytes:
    # the command's name only: its arguments may say more than others need to know
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    return f"process {os.getpid()} ({' '.join(('machinectl', command)).strip()})\n".encode()
