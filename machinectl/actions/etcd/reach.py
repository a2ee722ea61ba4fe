"""The way to a member's client port: directly, or through SSH where only that is open (a firewall, a jump host)."""

from __future__ import annotations

import atexit
import socket
import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from machinectl.errors import MachinectlError
from machinectl.store.etcd import Etcd
from machinectl.store.store import Store

if TYPE_CHECKING:
    from machinectl.remote.tunnel import Tunnel

PROBE = 1.5
"""Seconds for a TCP connection; a member that is down refuses it at once."""
SSH_DEADLINE = 6.0
AGAIN = 10.0
"""Seconds after which a way that was not there is looked for again."""

_Key = tuple[str, str]
"""Store, machine."""
_LOCKS: defaultdict[_Key, threading.Lock] = defaultdict(threading.Lock)
_TUNNELS: dict[_Key, Tunnel] = {}
_MISSED: dict[_Key, float] = {}
"""When neither way was there."""


def way_to(store: Store, etcd: Etcd, url: str) -> str:
    """`url` itself, or that of a tunnel's local end (127.0.0.1 is in every member's certificate). Tunnels live as
    long as this process. Raises nothing: where there is no way, `url` gives the error."""
    name = next((one for one in etcd.members if etcd.client_url(one) == url), "")
    if not name:
        return url
    key = (str(store.path), name)
    with _LOCKS[key]:
        present = _TUNNELS.get(key)
        if not (present and present.alive):
            direct = _answers(etcd.members[name], etcd.client_port)
            present = None if direct else _tunnel(store, name, etcd, key)
    return f"https://127.0.0.1:{present.port}" if present else url


def _answers(host: str, port: int) -> bool:
    """Someone listens there, or says at once that nobody does."""
    try:
        socket.create_connection((host, port), timeout=PROBE).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True


def _tunnel(store: Store, name: str, etcd: Etcd, key: _Key) -> Tunnel | None:
    if time.monotonic() - _MISSED.get(key, -AGAIN) < AGAIN:
        return None
    from machinectl.remote.become import Become  # noqa: PLC0415 - all of SSH is only for this case
    from machinectl.remote.connection import open_connection  # noqa: PLC0415
    from machinectl.remote.tunnel import Tunnel  # noqa: PLC0415

    try:
        machine = store.load(name)
        connection = open_connection(
            machine.ssh, machine=name, known_hosts=store.known_hosts, become=Become(), deadline=SSH_DEADLINE
        )
    except MachinectlError:
        _MISSED[key] = time.monotonic()
        return None
    _TUNNELS[key] = Tunnel(connection, etcd.members[name], etcd.client_port)
    atexit.register(_TUNNELS[key].close)
    return _TUNNELS[key]
