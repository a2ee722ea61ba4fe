"""Who is at work with dpkg or apt, and waiting for them.

apt can wait for dpkg's locks itself (DPkg::Lock::Timeout), silently, but not for the lock of its package
lists. They are POSIX record locks (fcntl(2)), so F_GETLK tells who holds one without taking it.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from typing import Callable, Optional

from machinectl_agent.host import Host
from machinectl_agent.problems import Problem

LOCKS = (
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/lock",
    "/var/lib/apt/lists/lock",
    "/var/cache/apt/archives/lock",
)
WAIT = 120.0
"""Seconds; unattended-upgrades at first boot takes a minute or two."""
PAUSE = 0.25
"""Seconds between looks; a POSIX lock can't be waited for with a time limit."""
_FLOCK = "hhqqi"
"""struct flock of Linux (64-bit offsets, as Python is built): type, whence, start, length, process."""


def holder(host: Host) -> Optional[str]:
    """`apt-get (process 123, /var/lib/dpkg/lock)`, or None where all locks are free."""
    for name in LOCKS:
        try:
            handle = os.open(host.path(name), os.O_RDWR)
        except OSError:
            continue
        try:
            asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(handle, fcntl.F_GETLK, asked))
        except OSError:
            continue
        finally:
            os.close(handle)
        if kind != fcntl.F_UNLCK:
            program = (host.read(f"/proc/{pid}/comm") or "another program").strip()
            return f"{program} (process {pid}, {name})"
    return None


def wait_until_free(host: Host, log: Callable[[str], None], wait: float = WAIT) -> None:
    """Raises `Problem` `packages-locked` when `wait` seconds are over."""
    end = time.monotonic() + wait
    told = ""
    while True:
        who = holder(host)
        if who is None:
            return
        if who != told:
            log(f"waiting for {who} to leave the package database")
            told = who
        if time.monotonic() >= end:
            raise locked(who, wait)
        time.sleep(PAUSE)


def locked(who: str, wait: float) -> Problem:
    """The error of a database that somebody else does not let go of."""
    return Problem(
        "packages-locked",
        "the package database of this host is in use",
        why=f"{who} has held it for more than {wait:.0f} s",
        hint="wait until it has ended (automatic upgrades take minutes), then run the same command again",
    )
