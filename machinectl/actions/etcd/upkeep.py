"""etcd status, backup, defrag."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

from machinectl.actions.etcd.access import admin, asking, endpoints, require_etcd
from machinectl.actions.fleet import on_each
from machinectl.errors import MachinectlError
from machinectl.store.etcd import Etcd
from machinectl.store.store import Store
from machinectl_agent.kv.interface import KvError

ANSWER = 4.0
"""Seconds for a member to say how it is."""


def status(store: Store) -> list[dict[str, Any]]:
    """A row for each member: member, endpoint, health (`ok`, `learner`, `alarm` or `down`), version, leader (bool),
    size (bytes), revision, term, index, latency (ms), error."""
    etcd = require_etcd(store)
    urls = [etcd.client_url(name) for name in etcd.members] or endpoints(store)
    names = {etcd.client_url(name): name for name in etcd.members} or _names(store)

    def one(url: str) -> dict[str, Any]:
        return _row(store, names.get(url, "-"), url)

    return [outcome.result for outcome in on_each(urls, one) if outcome.result]


def in_turn(store: Store, etcd: Etcd) -> list[str]:
    """The members' names: those that are down first, the leader last, so that it changes once at most."""
    rows = {row["member"]: row for row in status(store)}

    def turn(name: str) -> int:
        row = rows.get(name, {})
        return 0 if row.get("health") != "ok" else 2 if row.get("leader") else 1

    return sorted(etcd.members, key=turn)


def backup(store: Store, path: Path) -> tuple[int, str]:
    """A snapshot, 0600; its size in bytes and sha256. Raises MachinectlError."""
    with asking(store, "no snapshot could be taken") as client:
        saved = client.snapshot(path)
    return saved.size, saved.sha256


def defrag(store: Store) -> list[tuple[str, int, int]]:
    """(endpoint, bytes before, bytes after); the leader last, for a member answers nobody meanwhile. Alarms that
    there was no space are ended afterwards: a member that still has none gives them again."""
    rows = sorted(status(store), key=lambda row: bool(row.get("leader")))
    down = [row["endpoint"] for row in rows if row["health"] == "down"]
    if down:
        raise MachinectlError(
            f"{', '.join(down)} is down",
            why="a member answers nobody while it is defragmented, and the others have to go on",
            hint="`machinectl etcd status`",
        )
    found = []
    for row in rows:
        url = row["endpoint"]
        with asking(store, f"{url} could not be defragmented", url) as client:
            client.defragment("")  # its only endpoint, which may be a tunnel
            client.health(deadline=ANSWER)
            found.append((url, int(row["size"]), client.status().size))
    with asking(store, "the alarms could not be ended") as client:
        for alarm in client.alarms():
            if alarm.kind == "NOSPACE":
                client.disarm(alarm)
    return found


def _row(store: Store, name: str, url: str) -> dict[str, Any]:
    row: dict[str, Any] = {"member": name, "endpoint": url, "health": "down", "error": ""}
    client = admin(store, url)
    began = time.monotonic()
    try:
        found = client.status(deadline=ANSWER)
        row.update(
            version=found.version, leader=found.leader == found.id, size=found.size, revision=found.revision,
            term=found.term, index=found.index, latency=round((time.monotonic() - began) * 1000, 1),
        )  # fmt: skip
        if found.is_learner:
            row["health"] = "learner"  # it refuses linearizable reads
            return row
        client.health(deadline=ANSWER)
        kinds = [alarm.kind for alarm in client.alarms(deadline=ANSWER) if alarm.member == found.id]
        row.update(health="alarm" if kinds else "ok", error=", ".join(kinds))
    except KvError as error:
        row["error"] = str(error)
    finally:
        client.close()
    return row


def _names(store: Store) -> dict[str, str]:
    """Client URL → name, as an etcd that is not ours says it; empty where it does not answer."""
    client = admin(store)
    try:
        with contextlib.suppress(KvError):
            return {url: one.name for one in client.members(deadline=ANSWER) for url in one.client_urls}
    finally:
        client.close()
    return {}
