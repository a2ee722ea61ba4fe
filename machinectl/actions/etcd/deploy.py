"""etcd deploy, add, remove, upgrade: members on machines of the store.

deploy   record (token, members) ─► all agents at once ─► every member takes part ─► record: it exists
add      etcd knows the new member ─► its agent starts it ─► it takes part
remove   etcd forgets the member ─► its agent stops it, its data are moved aside
upgrade  one member after the other, each has to take part again before the next
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from machinectl.actions.etcd.access import admin, require_etcd, without
from machinectl.actions.etcd.members import apply_member, member_spec, wait_healthy
from machinectl.actions.fleet import on_each, raise_failures
from machinectl.errors import MachinectlError, UsageError
from machinectl.remote.become import Become
from machinectl.store.etcd import Etcd, load_etcd, save_etcd
from machinectl.store.store import Store
from machinectl_agent.kv.interface import KvError

SIZES = (1, 3, 5)


def deploy(
    store: Store,
    names: Sequence[str],
    *,
    wishes: Mapping[str, Any],
    addresses: Mapping[str, str],
    become: Become,
    any_size: bool = False,
    quiet: bool = False,
    dry_run: bool = False,
) -> list[str]:
    """Founds the cluster, or brings one that is there to these wishes; the plans with dry_run. A run that was
    killed is finished by the next. Raises before anything changes where the wish is not possible."""
    machines = [store.load(name) for name in names]
    with store.lock("etcd", wait=600.0):
        present = load_etcd(store)
        etcd = _wanted(
            present,
            names,
            {one.name: addresses.get(one.name) or one.ip for one in machines},
            wishes,
            any_size,
        )
        if not dry_run:
            save_etcd(store, etcd)

        def one(name: str) -> dict[str, Any]:
            spec = member_spec(store, etcd, name)
            return apply_member(store, spec, become=become, quiet=quiet, dry_run=dry_run)

        outcomes = on_each(list(etcd.members), one)
        raise_failures(outcomes)
        if dry_run:
            return [str((outcome.result or {})["plan"]) for outcome in outcomes]
        wait_healthy(store, etcd, list(etcd.members))
        save_etcd(store, dataclasses.replace(etcd, state="existing"))
    return []


def add(store: Store, name: str, *, address: str = "", become: Become, quiet: bool = False) -> None:
    """One more member. Raises where one of the others is not well: a change needs all of them."""
    machine = store.load(name)
    with store.lock("etcd", wait=600.0):
        etcd = require_etcd(store)
        if etcd.endpoints:
            raise _foreign()
        if name in etcd.members and etcd.joining != name:
            raise MachinectlError(f"{name} is a member already", hint="`machinectl etcd status`")
        others = [one for one in etcd.members if one != name]
        wait_healthy(store, etcd, others, deadline=5.0)
        etcd = dataclasses.replace(
            etcd, members={**etcd.members, name: address or machine.ip}, joining=name, state="existing"
        )
        save_etcd(store, etcd)
        client = admin(store, etcd.client_url(others[0]))
        try:
            known = [url for one in client.members() for url in one.peer_urls]
            if etcd.peer_url(name) not in known:
                client.add_member([etcd.peer_url(name)])
        finally:
            client.close()
        apply_member(store, member_spec(store, etcd, name), become=become, quiet=quiet)
        wait_healthy(store, etcd, [name])
        save_etcd(store, dataclasses.replace(etcd, joining=""))


def remove(store: Store, name: str, *, force: bool = False, become: Become, quiet: bool = False) -> None:
    """One member less. Raises where the rest would have no majority of living members. `force`: also where its
    host does not answer; it is stopped there when it does again."""
    with store.lock("etcd", wait=600.0):
        etcd = require_etcd(store)
        if name not in etcd.members:
            raise MachinectlError(f"{name} is no etcd member", hint="`machinectl etcd status`")
        rest = without(etcd, name)
        if not rest.members:
            raise MachinectlError(
                f"{name} is the last member",
                why="its data are all that there is",
                hint="`machinectl etcd add` another first",
            )
        living = [one for one in rest.members if _is_well(store, etcd, one)]
        if len(living) <= len(rest.members) // 2:
            raise MachinectlError(
                f"{name} can't be removed",
                why=f"of the {len(rest.members)} others only {len(living)} are well: no majority",
                hint="`machinectl etcd status`; bring a member back first",
            )
        client = admin(store, etcd.client_url(living[0]))
        try:
            for one in client.members():
                if etcd.peer_url(name) in one.peer_urls:
                    client.remove_member(one.id)
        finally:
            client.close()
        # only now: a run that is killed before finds the member still in the record, and removes it again
        try:
            apply_member(store, member_spec(store, etcd, name, absent=True), become=become, quiet=quiet)
        except MachinectlError:
            if not force:
                raise
        save_etcd(store, dataclasses.replace(rest, joining="" if rest.joining == name else rest.joining))


def upgrade(store: Store, *, become: Become, quiet: bool = False) -> list[tuple[str, str]]:
    """(member, version) after it."""
    found = []
    with store.lock("etcd", wait=600.0):
        etcd = require_etcd(store)
        if etcd.endpoints:
            raise _foreign()
        wait_healthy(store, etcd, list(etcd.members), deadline=5.0)
        for name in etcd.members:
            result = apply_member(
                store, member_spec(store, etcd, name, upgrade=True), become=become, quiet=quiet
            )
            wait_healthy(store, etcd, [name])
            found.append((name, str(result["version"])))
    return found


def _wanted(
    present: Etcd | None,
    names: Sequence[str],
    addresses: Mapping[str, str],
    wishes: Mapping[str, Any],
    any_size: bool,
) -> Etcd:
    """Pure: the record as it shall be. Raises UsageError."""
    if present and present.endpoints:
        raise _foreign()
    if present and present.members:
        if set(names) != set(present.members):
            raise UsageError(
                f"this store has an etcd on {', '.join(present.members)}",
                hint="`machinectl etcd add NAME` and `remove NAME` change its members",
            )
        return dataclasses.replace(present, **wishes)
    if len(names) not in SIZES and not any_size:
        raise UsageError(
            f"etcd on {len(names)} machines",
            why="an even number stands no more failures than one less, and more than five only cost time",
            hint="name 1, 3 or 5 machines; or add --any-size",
        )
    return Etcd(members=dict(addresses), token=f"machinectl-{secrets.token_hex(8)}", **wishes)


def _is_well(store: Store, etcd: Etcd, name: str) -> bool:
    client = admin(store, etcd.client_url(name))
    try:
        client.health(etcd.client_url(name), deadline=3.0)
    except KvError:
        return False
    finally:
        client.close()
    return True


def _foreign() -> MachinectlError:
    return MachinectlError(
        "this store uses an etcd that is not its own",
        hint="look after it by its own tools, or `machinectl etcd use --none`",
    )
