"""One member's agent brought to what the record says, and the wait until it is well."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from machinectl.actions.converge import APPLY_DEADLINE, connect, whoami
from machinectl.actions.etcd.access import admin
from machinectl.actions.report import Report, render_plan
from machinectl.errors import MachinectlError
from machinectl.pki.authority import ensure_authority
from machinectl.pki.leaves import ensure_member
from machinectl.remote.agent_client import run_agent
from machinectl.remote.become import Become
from machinectl.remote.bundle import build_bundle
from machinectl.store.etcd import Etcd
from machinectl.store.store import Store
from machinectl_agent import wire
from machinectl_agent.kv.interface import KvError

HEALTHY_DEADLINE = 60.0
"""Seconds until a member that was started takes part."""

PAUSE = 0.1


def member_spec(store: Store, etcd: Etcd, name: str, **changes: Any) -> dict[str, Any]:
    """What the agent's verb `etcd` takes (machinectl_agent/etcd/spec.py)."""
    spec: dict[str, Any] = {
        "name": name,
        "address": etcd.members.get(name, ""),
        "cluster": {one: etcd.peer_url(one) for one in etcd.members},
        "token": etcd.token,
        "state": etcd.state,
        "joining": etcd.joining == name,
        "client_port": etcd.client_port,
        "peer_port": etcd.peer_port,
        "quota": etcd.quota,
        "retention": etcd.retention,
        "v2": etcd.v2,
        "packages": etcd.packages,
        **changes,
    }
    if not spec.get("absent"):
        with store.lock():
            authority = ensure_authority(store.certs)
            names = (etcd.members[name], store.load(name).ip, name)
            certificate, key = ensure_member(authority, store.folder(name), names)
        spec.update(ca=authority.certificate.decode(), cert=certificate.read_text(), key=key.read_text())
    return spec


def apply_member(
    store: Store,
    spec: Mapping[str, Any],
    *,
    become: Become,
    quiet: bool = False,
    dry_run: bool = False,
    snapshot: Path | None = None,
) -> dict[str, Any]:
    """Returns what the agent says: changed, version; with dry_run also `plan`, the text."""
    name = str(spec["name"])
    report = Report(name, quiet=quiet)
    steps: list[Mapping[str, Any]] = []

    def on_event(message: Mapping[str, Any]) -> None:
        if message.get("event") == "plan" and dry_run:
            steps.extend(message["steps"])
        else:
            report.event(message)

    with store.machine_lock(name, wait=60.0), connect(store, store.load(name), become, report) as connection:
        args: dict[str, Any] = {"etcd": dict(spec), "dry_run": dry_run, "for": whoami()}
        if snapshot:
            args["restore"] = "/var/lib/machinectl/snapshot.db"
            connection.upload(snapshot, args["restore"], mode=0o600, deadline=300.0)
        request = wire.request("etcd", args)
        result = run_agent(connection, build_bundle(), request, on_event=on_event, deadline=APPLY_DEADLINE)
    return {**result, "plan": render_plan(name, steps)} if dry_run else result


def wait_healthy(store: Store, etcd: Etcd, names: list[str], deadline: float = HEALTHY_DEADLINE) -> None:
    """Until each of these members answers and takes part in a majority. Raises `MachinectlError` naming the first
    that does not."""
    end = time.monotonic() + deadline
    for name in names:
        url = etcd.client_url(name)
        client = admin(store, url)
        try:
            while True:
                try:
                    client.health(url, deadline=2.0)
                    break
                except KvError as error:
                    if time.monotonic() > end:
                        raise MachinectlError(
                            "the etcd member does not take part in the cluster",
                            why=str(error),
                            hint=f"is port {etcd.peer_port} open between the members? "
                            f"`machinectl ssh {name} journalctl -u machinectl-etcd`",
                            machine=name,
                        ) from error
                    time.sleep(PAUSE)
        finally:
            client.close()
