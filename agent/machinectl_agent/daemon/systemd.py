"""docker.service as systemd sees it.

`systemctl` costs 10 ms of CPU, so it is asked only when something has changed: systemd keeps a link
/run/systemd/units/invocation:UNIT for every unit that is not dead, with another target after every start.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence, Tuple

PROPERTIES = "LoadState,ActiveState,SubState,Result,Restart,MainPID,ExecStart"
INVOCATIONS = "/run/systemd/units"
DEADLINE = 10.0
"""Seconds for one systemctl; every job is queued with --no-block, so none waits for dockerd."""


@dataclass(frozen=True)
class UnitState:
    """`systemctl show`. Empty strings where systemd did not answer."""

    load: str = ""
    """`loaded`, `not-found`, `masked`, …"""
    active: str = ""
    """`active`, `inactive`, `failed`, `activating`, `deactivating`, `reloading`."""
    sub: str = ""
    """Finer: `running`, `auto-restart`, `stop-sigterm`, …"""
    result: str = ""
    """Why it is not running: `success`, `exit-code`, `signal`, `timeout`, `start-limit-hit`, …"""
    restart: str = ""
    """Its Restart= setting."""
    pid: int = 0
    """Main process, 0: none."""
    program: str = ""
    """Full path of what ExecStart= runs."""


class Systemd:
    """One unit. `systemctl` is the program to call, with leading arguments if it has any."""

    def __init__(
        self, unit: str, systemctl: Sequence[str] = ("systemctl",), invocations: str = INVOCATIONS
    ) -> None:
        self.unit = unit
        self._systemctl = tuple(systemctl)
        self._folder = invocations
        self._link = f"{invocations}/invocation:{unit}"

    def mark(self) -> Optional[str]:
        """Changes whenever the unit is started or has ended; None where systemd keeps no such links."""
        try:
            return os.readlink(self._link)  # noqa: PTH115 - a string is wanted
        except FileNotFoundError:
            return "" if os.path.isdir(self._folder) else None  # noqa: PTH112 - no pathlib here
        except OSError:
            return None

    def show(self) -> UnitState:
        """Never raises; an empty `UnitState` where systemd does not answer in time."""
        status, text = self._run("show", self.unit, "--property", PROPERTIES)
        return parse_show(text) if status == 0 else UnitState()

    def start(self) -> str:
        """Also after the start limit was hit, which the socket unit then shares. An error text, or empty."""
        socket_unit = self.unit.replace(".service", ".socket")
        self._run("reset-failed", self.unit, socket_unit)
        status, text = self._run("start", "--no-block", self.unit)
        return "" if status == 0 else text.strip()[-300:]

    def restart(self) -> str:
        """An error text, or empty: the job is queued."""
        status, text = self._run("restart", "--no-block", self.unit)
        return "" if status == 0 else text.strip()[-300:]

    def _run(self, *arguments: str) -> Tuple[int, str]:
        command: List[str] = [*self._systemctl, *arguments]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=DEADLINE,
                text=True,
                errors="replace",
                check=False,
            )
        except subprocess.TimeoutExpired:
            return 124, f"{command[0]} did not end within {DEADLINE:.0f} s"
        except OSError as error:
            return 127, f"{command[0]}: {error.strerror}"
        return done.returncode, done.stdout


def parse_show(text: str) -> UnitState:
    """Pure: `NAME=value` lines in any order; unknown ones are left out."""
    found: Dict[str, str] = dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)
    pid = found.get("MainPID", "0")
    # { path=/usr/bin/dockerd ; argv[]=… }
    program = re.match(r"\{ path=(\S+) ;", found.get("ExecStart", ""))
    return UnitState(
        load=found.get("LoadState", ""),
        active=found.get("ActiveState", ""),
        sub=found.get("SubState", ""),
        result=found.get("Result", ""),
        restart=found.get("Restart", ""),
        pid=int(pid) if pid.isdigit() else 0,
        program=program[1] if program else "",
    )
