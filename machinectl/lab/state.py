"""lab.json: which hosts belong to the lab, and what the machine was like before."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from machinectl.errors import LabError, LockedError
from machinectl.lab.settings import Settings


@dataclass(frozen=True)
class HostRecord:
    """One host as it was asked for."""

    name: str
    suite: str
    ip: str
    python: bool = True
    isolated: bool = False
    """Reaches other hosts and this machine, but not the Internet."""
    cgroup: str = "v2"
    engine: bool = False
    """docker.io is there from the beginning."""


@dataclass(frozen=True)
class State:
    """The whole lab. An empty one: no lab."""

    bridge: str = ""
    subnet: str = ""
    forwarding_before: str = ""
    """net.ipv4.ip_forward as the lab found it."""
    hosts: dict[str, HostRecord] = field(default_factory=dict)


def load_state(settings: Settings) -> State:
    """Raises `LabError` where lab.json is damaged."""
    path = settings.state / "lab.json"
    try:
        document = json.loads(path.read_text())
        hosts = {name: HostRecord(**one) for name, one in document.pop("hosts").items()}
        return State(**document, hosts=hosts)
    except FileNotFoundError:
        return State()
    except (ValueError, TypeError, KeyError) as error:
        raise LabError(
            f"{path} is damaged", why=str(error), hint=f"remove {path}, then `machinectl lab down`"
        ) from error


def save_state(settings: Settings, state: State) -> None:
    """Atomic: a crash leaves the old file or the new one."""
    settings.state.mkdir(parents=True, exist_ok=True)
    temporary = settings.state / "lab.json.tmp"
    temporary.write_text(json.dumps(dataclasses.asdict(state), indent=1) + "\n")
    os.replace(temporary, settings.state / "lab.json")  # noqa: PTH105 - reads better with both names


@contextlib.contextmanager
def lab_lock(settings: Settings, wait: float = 600.0) -> Iterator[None]:
    """One `up`, `down` or `reboot` at a time. Raises `LockedError`. The file lies in /run and stays there:
    one that were removed with the lab could be locked twice."""
    path = Path("/run") / f"{settings.table}.lock"
    with path.open("w") as stream:
        end = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise LockedError("another command is at work on this lab", why=str(path)) from None
                time.sleep(0.1)
        yield
