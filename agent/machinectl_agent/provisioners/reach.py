"""Does a server accept connections? An answer within seconds, even where the name server is silent."""

from __future__ import annotations

import queue
import socket
import threading
import time
from typing import Dict, Mapping, Optional, Set, Tuple

SILENCE = 7.0
"""Seconds; a lost first packet is sent again after 1 and 3 s (RFC 6298)."""
PORTS = {"http": 80, "https": 443}

Address = Tuple[str, int]
"""Host and TCP port."""


def knock(addresses: Set[Address], silence: float = SILENCE) -> Optional[Dict[str, str]]:
    """None as soon as one of them accepts a connection; else host → reason, within `silence` seconds."""
    answers: queue.Queue[Tuple[str, str]] = queue.Queue()
    late = f"no answer within {silence:.0f} s"

    def try_one(address: Address) -> None:
        try:
            socket.create_connection(address, timeout=silence).close()
        except OSError as error:
            # a timeout, which may come before ours, has no words of its own
            answers.put((address[0], error.strerror or late))
        else:
            answers.put((address[0], ""))

    for address in addresses:
        # daemon threads: a name server that is silent keeps getaddrinfo(3) for half a minute
        threading.Thread(target=try_one, args=(address,), daemon=True).start()
    trouble: Dict[str, str] = {name: late for name, _ in addresses}
    heard = 0
    end = time.monotonic() + silence
    while heard < len(addresses):
        try:
            name, reason = answers.get(timeout=max(0.01, end - time.monotonic()))
        except queue.Empty:
            break
        if not reason:
            return None
        heard += 1
        trouble[name] = reason
    return trouble


def reasons(trouble: Mapping[str, str]) -> str:
    """One line for an error."""
    return "; ".join(f"{name}: {reason}" for name, reason in sorted(trouble.items()))
