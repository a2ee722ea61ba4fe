"""etcd status, backup, restore, defrag, use."""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from machinectl.actions.etcd.access import admin, endpoints, require_etcd
from machinectl.actions.etcd.members import apply_member, member_spec, wait_healthy
from machinectl.actions.fleet import on_each, raise_failures
from machinectl.errors import MachinectlError
from machinectl.kv.client import Etcd3
from machinectl.remote.become import Become
from machinectl.store.etcd import Etcd, load_etcd, save_etcd
from machinectl.store.store import Store
from machinectl_agent.kv.interface import KvError
from machinectl_agent.kv.tls import Tls


def status(store: Store) -> list[dict[str, Any]]:
    """A row for each member: member, endpoint, health (`ok` or `down`), version, leader (bool), size (bytes),
    revision, term, latency (ms), error."""
    etcd = require_etcd(store)
    names = {etcd.client_url(name): name for name in etcd.members}
    urls = endpoints(store)

    def one(url: str) -> dict[str, Any]:
        row: dict[str, Any] = {"member": names.get(url, "-"), "endpoint": url, "health": "down", "error": ""}
        client = admin(store, url)
        began = time.monotonic()
        try:
            found = client.status(url, deadline=4.0)
            row.update(
                version=found.version, leader=found.leader == found.id, size=found.size,
                revision=found.revision, term=found.term, latency=round((time.monotonic() - began) * 1000, 1),
            )  # fmt: skip
            client.health(url, deadline=4.0)
            row["health"] = "ok"
        except KvError as error:
            row["error"] = str(error)
        finally:
            client.close()
        return row

    return [outcome.result for outcome in on_each(urls, one) if outcome.result]


def backup(store: Store, path: Path) -> tuple[int, str]:
    """A snapshot, 0600; its size in bytes and sha256. Raises MachinectlError."""
    client = admin(store)
    try:
        saved = client.snapshot(path)
    except KvError as error:
        raise MachinectlError(
            "no snapshot could be taken", why=str(error), hint="`machinectl etcd status`"
        ) from error
    finally:
        client.close()
    return saved.size, saved.sha256


def restore(store: Store, path: Path, *, become: Become, quiet: bool = False) -> None:
    """Every member begins anew with the snapshot's data, as a new cluster; the data of before are moved aside on
    each host. Agents notice it and put back what their containers have."""
    if not path.is_file():
        raise MachinectlError(f"{path} is no file", hint="`machinectl etcd backup FILE` makes one")
    with store.lock("etcd", wait=600.0):
        etcd = dataclasses.replace(
            require_etcd(store), token=f"machinectl-{secrets.token_hex(8)}", state="new", joining=""
        )
        if etcd.endpoints:
            raise MachinectlError(
                "this store uses an etcd that is not its own", hint="restore it by its own tools"
            )
        save_etcd(store, etcd)

        def one(name: str) -> dict[str, Any]:
            return apply_member(
                store, member_spec(store, etcd, name), become=become, quiet=quiet, snapshot=path
            )

        raise_failures(on_each(list(etcd.members), one))
        wait_healthy(store, etcd, list(etcd.members))
        save_etcd(store, dataclasses.replace(etcd, state="existing"))


def defrag(store: Store) -> list[tuple[str, int, int]]:
    """(endpoint, bytes before, bytes after); the leader last, for a member answers nobody meanwhile."""
    rows = sorted(status(store), key=lambda row: bool(row.get("leader")))
    down = [row["member"] for row in rows if row["health"] != "ok"]
    if down:
        raise MachinectlError(
            f"{', '.join(down)} is down",
            why="a member answers nobody while it is defragmented",
            hint="`machinectl etcd status`",
        )
    found = []
    for row in rows:
        client = admin(store, row["endpoint"])
        try:
            client.defragment(row["endpoint"])
            found.append((row["endpoint"], int(row["size"]), client.status(row["endpoint"]).size))
        except KvError as error:
            raise MachinectlError(f"{row['endpoint']} could not be defragmented", why=str(error)) from error
        finally:
            client.close()
    return found


def use(store: Store, urls: Sequence[str], *, ca: str, cert: str, key: str) -> None:
    """From now on this etcd, which somebody else looks after; asked first whether it answers."""
    with store.lock("etcd", wait=600.0):
        present = load_etcd(store)
        if present and present.members:
            raise MachinectlError(
                f"this store has an etcd of its own on {', '.join(present.members)}",
                hint="use another store (-s) for another etcd",
            )
        client = Etcd3(list(urls), tls=Tls(ca, cert, key) if ca else None)
        try:
            client.health()
        except KvError as error:
            raise MachinectlError(
                "this etcd can't be used",
                why=str(error),
                hint="check the endpoints, and --ca, --cert and --key",
            ) from error
        finally:
            client.close()
        save_etcd(store, Etcd(endpoints=tuple(urls), ca=ca, cert=cert, key=key, state="existing"))
