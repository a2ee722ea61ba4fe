"""One apply at a time on a machine: an flock(2) that the kernel frees when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from typing import Callable, Iterator, TextIO

from machinectl_agent.problems import Problem

PATH = "/run/machinectl/apply.lock"
PAUSE = 0.2
"""Seconds between tries; flock(2) has no timeout of its own."""


@contextlib.contextmanager
def apply_lock(
    log: Callable[[str], None], *, wait: float = 300.0, path: str = PATH, who: str = ""
) -> Iterator[None]:
    """Waits up to `wait` seconds for another apply to end. Raises `Problem` `locked` after that.

    `who` is written into the file for the one who waits: user and host of the controller.
    """
    with _opened(path) as stream:
        os.fchmod(stream.fileno(), 0o600)
        end = time.monotonic() + wait
        told = False
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                holder = _holder(path)
            if not told:
                log(f"waiting for another run on this machine ({holder})")
                told = True
            if time.monotonic() >= end:
                raise Problem(
                    "locked",
                    "another run is at work on this machine",
                    why=f"{holder} has held {path} for more than {wait:.0f} s",
                    hint="wait for it, or end it",
                )
            time.sleep(PAUSE)
        stream.truncate(0)
        stream.write(json.dumps({"pid": os.getpid(), "for": who}) + "\n")
        stream.flush()
        yield


def _opened(path: str) -> TextIO:
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120 - a plain string
        return open(path, "a+", encoding="utf-8")
    except OSError as error:
        raise Problem(
            "lock-failed",
            f"{path} can't be made on the host",
            why=str(error.strerror),
            hint="make room in the host's /run (`df -h /run`, `df -i /run`), then run the same command again",
        ) from error


def _holder(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as stream:
            note = json.load(stream)
        return f"pid {note['pid']}" + (f" for {note['for']}" if note.get("for") else "")
    except (OSError, ValueError, KeyError, TypeError):
        return "unknown"
