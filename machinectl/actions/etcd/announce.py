"""Tells the machines where etcd's members are: a key in etcd that every network service watches.

They take it over within milliseconds and keep it for their next start (machinectl_agent/network/whereabouts.py); one
that does not run meanwhile and finds no member where it looks for them needs `machinectl provision`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from machinectl.actions.etcd.access import asking
from machinectl.kv.client import Etcd3
from machinectl.store.store import Store
from machinectl_agent.kv.interface import KvError
from machinectl_agent.network.records import EtcdRecord, Layout, encode

DEADLINE = 15.0
"""Seconds: etcd may be electing a leader just now."""
PAUSE = 0.3


def announce(client: Etcd3, urls: Iterable[str]) -> None:
    """Raises KvError."""
    client.put(Layout().etcd_endpoints, encode(EtcdRecord(tuple(dict.fromkeys(urls)))))


def tell(store: Store, urls: Iterable[str], *, asked: str = "") -> None:
    """The same; `asked`: the member that is told. Raises `MachinectlError`."""
    end, wanted = time.monotonic() + DEADLINE, list(urls)
    with asking(
        store, "the machines of the networks can't be told where etcd's members are", asked
    ) as client:
        while True:
            try:
                announce(client, wanted)
                return
            except KvError:
                if time.monotonic() > end:
                    raise
                time.sleep(PAUSE)
