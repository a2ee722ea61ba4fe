"""etcd add and remove: one member at a time.

add      etcd knows it as a learner ─► its agent starts it ─► it has caught up ─► it votes ─► the machines of the
         networks are told where it is
remove   they are told where the others are ─► etcd forgets it ─► its agent stops it and moves its data aside ─► the
         record forgets it
"""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

from machinectl.actions.etcd.access import asking, require_own, without
from machinectl.actions.etcd.announce import announce, tell
from machinectl.actions.etcd.deploy import check_distinct
from machinectl.actions.etcd.members import apply_member, is_well, wait_healthy
from machinectl.actions.etcd.upkeep import status
from machinectl.actions.report import Report
from machinectl.errors import MachinectlError, UsageError
from machinectl.kv.client import Etcd3
from machinectl.remote.become import Become
from machinectl.store.etcd import Etcd, remove_etcd, save_etcd
from machinectl.store.store import Store
from machinectl_agent.kv.interface import KvError

LEARNERS_SINCE = (3, 4)
CATCH_UP = 120.0
"""Seconds for a learner to get the others' data (at most 8 GB)."""
SETTLED = 30.0
"""Seconds for etcd to be ready for a change of its members."""
PAUSE = 0.3


def add(store: Store, name: str, *, address: str = "", become: Become, quiet: bool = False) -> None:
    """One more member. Raises where one of the others is not well: a change needs all of them. A run that was
    killed is finished by the next one, or undone by `remove`."""
    machine = store.load(name)
    with store.lock("etcd", wait=600.0):
        present = require_own(store)
        etcd = _joining(present, name, address or machine.ip)
        others = [one for one in etcd.members if one != name]
        # all together: behind a firewall each is asked by a tunnel of its own
        wait_healthy(store, etcd, others, deadline=20.0)
        # a host that can't be reached, has no package or too old a one is found out before etcd knows of it
        result = apply_member(store, etcd, name, become=become, quiet=quiet, stage="install")
        versions = [str(row.get("version", "")) for row in status(store) if row["member"] != name]
        if present.joining != name:
            check_version(name, str(result["version"]), versions)
        learner = all(_number(one) >= LEARNERS_SINCE for one in versions)
        save_etcd(store, etcd)
        _announce(store, etcd, name, others[0], learner=learner)
        apply_member(store, etcd, name, become=become, quiet=quiet)
        _promote(store, etcd, name, others[0])
        wait_healthy(store, etcd, [name])
        done = dataclasses.replace(etcd, joining="")
        tell(store, done.client_urls(), asked=etcd.client_url(others[0]))
        save_etcd(store, done)


def remove(
    store: Store,
    name: str,
    *,
    force: bool = False,
    delete_data: bool = False,
    become: Become,
    quiet: bool = False,
) -> None:
    """One member less. Raises where the rest would have no majority of living members. `force`: also where its
    host does not answer, and the last one, with which the etcd ends; and of a founding that never came about."""
    with store.lock("etcd", wait=600.0):
        etcd = require_own(store)
        if name not in etcd.members:
            raise UsageError(f"{name} is no etcd member", hint="`machinectl etcd status` lists them")
        rest = without(etcd, name)
        if not force:
            # a host that can't be reached is found out before etcd forgets its member
            _end(store, etcd, name, become=become, quiet=True, dry_run=True)
        if not (force and (etcd.state == "new" or not rest.members)):
            _forget(store, etcd, rest, name)
        # only now: a run that is killed before finds the member still in the record, and removes it again
        try:
            _end(store, etcd, name, become=become, quiet=quiet, delete_data=delete_data)
        except MachinectlError as error:
            if not force:
                raise
            Report(name, quiet=quiet).line(
                f"its host was left as it is ({error.what}); should it come back, end etcd there: "
                "`systemctl disable --now machinectl-etcd`"
            )
        if rest.members:
            save_etcd(store, rest)
        else:
            remove_etcd(store)


def _end(store: Store, etcd: Etcd, name: str, **options: Any) -> None:
    """Its agent stops it."""
    try:
        apply_member(store, etcd, name, absent=True, **options)
    except MachinectlError as error:
        hint = f"`machinectl etcd remove --force {name}` where the host is gone"
        error.hint = f"{error.hint}; {hint}" if error.hint else hint
        raise


def _forget(store: Store, etcd: Etcd, rest: Etcd, name: str) -> None:
    """The other members forget it."""
    asked = _majority(store, etcd, rest, name)

    def strike(client: Etcd3) -> None:
        # while the member still answers: a machine that knows no other one hears of the others now
        announce(client, rest.client_urls())
        for one in client.members():
            if etcd.peer_url(name) in one.peer_urls:
                client.remove_member(one.id)

    with asking(store, f"{name} can't be removed", etcd.client_url(asked)) as client:
        _until_settled(client, strike, SETTLED)


def _joining(etcd: Etcd, name: str, address: str) -> Etcd:
    """Pure: the record with the new member; the same one again where it was being added already."""
    if etcd.joining == name:
        return etcd
    if name in etcd.members:
        raise UsageError(f"{name} is an etcd member already", hint="`machinectl etcd status`")
    if etcd.joining or etcd.restoring or etcd.state == "new":
        verb = f"add {etcd.joining}" if etcd.joining else "restore" if etcd.restoring else "deploy"
        raise MachinectlError(
            "an earlier change of this etcd has not been finished",
            hint=f"run `machinectl etcd {verb}` again first",
        )
    members = {**etcd.members, name: address}
    check_distinct(members)
    words = {**etcd.incarnations, name: f"{etcd.token}-{secrets.token_hex(4)}"}
    return dataclasses.replace(etcd, members=members, incarnations=words, joining=name)


def check_version(name: str, version: str, others: Sequence[str]) -> None:
    """Pure. Raises `MachinectlError` where the others' cluster does not take a member of this version any more: it
    goes up to the oldest of its members within seconds, and never down again."""
    oldest = min((_number(one) for one in others), default=())
    if _number(version) < oldest:
        needed = ".".join(map(str, oldest))
        raise MachinectlError(
            f"{name} has etcd {version}, and all members have {needed} or newer",
            why="etcd takes no member that is older than all others, not even one that it has had before",
            hint=f"`machinectl etcd deploy --binaries` with etcd {needed} for all members, then add {name} again; "
            "or add a machine whose distribution has a newer package",
        )


def _announce(store: Store, etcd: Etcd, name: str, asked: str, *, learner: bool) -> None:
    def enrol(client: Etcd3) -> None:
        known = [url for one in client.members() for url in one.peer_urls]
        if etcd.peer_url(name) not in known:
            client.add_member([etcd.peer_url(name)], learner=learner)

    with asking(store, f"{name} can't become a member", etcd.client_url(asked)) as client:
        _until_settled(client, enrol, SETTLED)


def _promote(store: Store, etcd: Etcd, name: str, asked: str) -> None:

    def promote(client: Etcd3) -> None:
        for one in client.members():
            if etcd.peer_url(name) in one.peer_urls and one.is_learner:
                client.promote_member(one.id)

    with asking(store, f"{name} can't become a voting member", etcd.client_url(asked)) as client:
        # refused until it has caught up
        _until_settled(client, promote, CATCH_UP)


def _until_settled(client: Etcd3, change: Callable[[Etcd3], None], deadline: float) -> None:
    """A change that may be tried again after an error: etcd takes none before its members have been connected to
    each other for 5 s, and its leader may be another one just now."""
    end = time.monotonic() + deadline
    while True:
        try:
            change(client)
            return
        except KvError:
            if time.monotonic() > end:
                raise
            time.sleep(PAUSE)


def _majority(store: Store, etcd: Etcd, rest: Etcd, name: str) -> str:
    """A living member of those that stay. Raises where they would be no majority."""
    if not rest.members:
        raise MachinectlError(
            f"{name} is the last member",
            why="its data are all that there is",
            hint="`machinectl etcd add` another first; or `machinectl etcd remove --force` ends this etcd",
        )
    living = [one for one in rest.members if is_well(store, etcd, one)]
    voting = [one for one in rest.members if one != rest.joining]
    if len(living) <= len(voting) // 2:
        raise MachinectlError(
            f"{name} can't be removed",
            why=f"of the {len(voting)} others only {len(living)} are well: no majority",
            hint="`machinectl etcd status`; bring a member back first, or `machinectl etcd restore` a backup",
        )
    return living[0]


def _number(version: str) -> tuple[int, ...]:
    head = version.split("+", maxsplit=1)[0].split(".")[:2]
    return tuple(int(one) for one in head if one.isdigit())
