"""A member whose machine has another address: the others are told, its server, its certificate and the machines of
the networks follow. Each step may be done again."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection, Sequence

from machinectl.actions.etcd.access import asking
from machinectl.actions.etcd.announce import tell
from machinectl.actions.etcd.deploy import check_distinct
from machinectl.actions.etcd.members import apply_member, is_well, wait_healthy
from machinectl.errors import MachinectlError
from machinectl.kv.client import Etcd3
from machinectl.remote.become import Become
from machinectl.store.etcd import Etcd, load_etcd, save_etcd
from machinectl.store.store import Store
from machinectl_agent.kv.interface import KvError

SETTLED = 30.0
"""Seconds for etcd to be ready for a change of its members."""
PAUSE = 0.3


def move_member(
    store: Store, name: str, olds: Collection[str], new: str, *, become: Become, quiet: bool
) -> bool:
    """Whether the machine is a member at its own address (one of `olds`, or `new` already); one that was told
    another by --advertise is left alone.

    The caller does not hold the machine's lock. Raises `MachinectlError`; the next call goes on from there."""
    with store.lock("etcd", wait=600.0):
        present = load_etcd(store)
        if present is None or present.endpoints or present.members.get(name) not in (*olds, new):
            return False
        before = [dataclasses.replace(present, members={name: one}).peer_url(name) for one in olds]
        etcd = dataclasses.replace(present, members={**present.members, name: new})
        check_distinct(etcd.members)
        if etcd.state == "new":
            save_etcd(store, etcd)  # `etcd deploy` founds it there
            return True
        others = [one for one in etcd.members if one not in (name, etcd.joining)]
        asked = next((one for one in others if is_well(store, etcd, one)), "")
        if others and not asked:
            raise MachinectlError(
                "the other etcd members can't be told its new address",
                why="none of them is well without it: etcd wants a majority",
                hint="bring another member back first (`machinectl etcd status`), then run the same command again",
                machine=name,
            )
        if asked:
            _update(store, etcd, asked, name, before)
        save_etcd(store, etcd)
        apply_member(store, etcd, name, become=become, quiet=quiet)
        wait_healthy(store, etcd, [name])
        if not asked:
            _update(store, etcd, name, name, before)
        tell(store, etcd.client_urls(), asked=etcd.client_url(asked or name))
    return True


def _update(store: Store, etcd: Etcd, asked: str, name: str, before: Sequence[str]) -> None:
    """The cluster's own list of members."""

    def change(client: Etcd3) -> None:
        for one in client.members():
            if etcd.peer_url(name) not in one.peer_urls and set(before) & set(one.peer_urls):
                client.update_member(one.id, [etcd.peer_url(name)])

    end = time.monotonic() + SETTLED
    with asking(store, f"{name}'s new address can't be told", etcd.client_url(asked)) as client:
        while True:
            try:
                change(client)
                return
            except KvError:
                if time.monotonic() > end:
                    raise
                time.sleep(PAUSE)
