"""Telling systemd how we are: sd_notify(3) in a few lines, and how often its watchdog wants to hear of us."""

from __future__ import annotations

import os
import socket
from typing import Mapping


def notify(*lines: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Sends `READY=1`, `WATCHDOG=1`, `STATUS=…` and the like. False where nobody wants to know."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):  # the abstract namespace, unix(7)
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.settimeout(1.0)
        try:
            one.sendto("\n".join(lines).encode(), address)
        except OSError:
            return False  # systemd is being re-executed; the next message gets there
    return True


def watchdog_seconds(environment: Mapping[str, str] = os.environ) -> float:
    """WatchdogSec= of our unit; 0 where there is none or it is meant for another pid."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    text = environment.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isdigit() else 0.0
