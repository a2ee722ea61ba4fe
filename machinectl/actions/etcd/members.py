"""One member's agent brought to what the record says, and the wait until it is well."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from machinectl.actions.converge import APPLY_DEADLINE, UPLOAD_RATE, connect, whoami
from machinectl.actions.etcd.access import admin
from machinectl.actions.etcd.binaries import program
from machinectl.actions.fleet import on_each, raise_failures
from machinectl.actions.report import Report, render_plan
from machinectl.errors import MachinectlError
from machinectl.pki.authority import ensure_authority
from machinectl.pki.leaves import ensure_member
from machinectl.remote.agent_client import run_agent
from machinectl.remote.become import Become
from machinectl.remote.bundle import build_bundle
from machinectl.store.etcd import Etcd
from machinectl.store.paths import resolved_path
from machinectl.store.store import Store
from machinectl_agent import wire
from machinectl_agent.kv.interface import KvError

HEALTHY_DEADLINE = 60.0
"""Seconds until a member that was started takes part."""

PAUSE = 0.1
SNAPSHOT = "/var/lib/machinectl/etcd-snapshot.db"
"""Where the agent finds a snapshot (machinectl_agent/etcd/restore.py)."""


def member_spec(store: Store, etcd: Etcd, name: str, **changes: Any) -> dict[str, Any]:
    """What the agent's verb `etcd` takes (machinectl_agent/etcd/spec.py)."""
    spec: dict[str, Any] = {
        "name": name,
        "address": etcd.members.get(name, ""),
        "cluster": {one: etcd.peer_url(one) for one in etcd.members},
        "token": etcd.token,
        "incarnation": etcd.incarnation(name),
        "state": etcd.state,
        "joining": etcd.joining == name,
        "client_port": etcd.client_port,
        "peer_port": etcd.peer_port,
        "quota": etcd.quota,
        "retention": etcd.retention,
        "v2": etcd.v2,
        "insecure_loopback": etcd.insecure_loopback,
        "binaries": dict(etcd.binaries),
        **changes,
    }
    if not spec.get("absent"):
        machine = store.load(name)
        with store.lock():
            authority = ensure_authority(store.certs)
            # peers compare the address that a connection comes from with the certificate: --tls-san names more
            names = (etcd.members[name], machine.ip, name, *machine.tls_san)
            certificate, key = ensure_member(authority, store.folder(name), names)
        spec.update(ca=authority.certificate.decode(), cert=certificate.read_text(), key=key.read_text())
    return spec


def apply_member(
    store: Store,
    etcd: Etcd,
    name: str,
    *,
    become: Become,
    quiet: bool = False,
    dry_run: bool = False,
    stage: str = "",
    snapshot: Path | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Returns what the agent says, once the member takes part: changed, version; with dry_run also `plan`, the
    text. `stage` and `changes`: see machinectl_agent/etcd/{apply,spec}.py; `snapshot` is uploaded before."""
    report = Report(name, quiet=quiet)
    steps: list[Mapping[str, Any]] = []
    spec = member_spec(store, etcd, name, **changes)

    def on_event(message: Mapping[str, Any]) -> None:
        if message.get("event") == "plan" and dry_run:
            steps.extend(message["steps"])
        else:
            report.event(message)

    with store.machine_lock(name, wait=60.0), connect(store, store.load(name), become, report) as connection:

        def need(files: list[dict[str, Any]]) -> None:
            for one in files:
                with program(Path(resolved_path(etcd.binaries_path, store.path)), one["sha256"]) as source:
                    size = source.stat().st_size
                    report.line(f"uploading {one['name']} ({size / 1e6:.1f} MB)")
                    connection.upload(source, one["path"], mode=0o755, deadline=30 + size / UPLOAD_RATE)

        if snapshot:
            size = snapshot.stat().st_size
            report.line(f"uploading {snapshot.name} ({size / 1e6:.1f} MB)")
            connection.upload(snapshot, SNAPSHOT, mode=0o600, deadline=30 + size / UPLOAD_RATE)
        request = wire.request("etcd", {"etcd": spec, "dry_run": dry_run, "stage": stage, "for": whoami()})
        result = run_agent(
            connection, build_bundle(), request, on_event=on_event, need=need, deadline=APPLY_DEADLINE
        )
    return {**result, "plan": render_plan(name, steps)} if dry_run else result


def put_programs(store: Store, etcd: Etcd, *, become: Become, quiet: bool) -> None:
    """New programs onto every member's host, none of them started: one that does not fit is found out before
    anything changes."""

    def one(name: str) -> dict[str, Any]:
        return apply_member(store, etcd, name, become=become, quiet=quiet, stage="install")

    raise_failures(on_each(list(etcd.members), one))


def is_well(store: Store, etcd: Etcd, name: str, deadline: float = 3.0) -> bool:
    """It reads with the agreement of a majority."""
    return not _ailment(store, etcd, name, deadline)


def wait_healthy(store: Store, etcd: Etcd, names: list[str], deadline: float = HEALTHY_DEADLINE) -> None:
    """Until each of these members answers and takes part in a majority. Raises `MachinectlError` naming the first
    that does not."""
    end = time.monotonic() + deadline
    for name in names:
        while why := _ailment(store, etcd, name, 2.0):
            if time.monotonic() > end:
                raise MachinectlError(
                    "the etcd member does not take part in the cluster",
                    why=why,
                    hint=f"is port {etcd.client_port} open from here, and {etcd.peer_port} between the members? "
                    f"`machinectl ssh {name} journalctl -u machinectl-etcd`",
                    machine=name,
                )
            time.sleep(PAUSE)


def _ailment(store: Store, etcd: Etcd, name: str, deadline: float) -> str:
    client = admin(store, etcd.client_url(name))
    try:
        client.health(deadline=deadline)
    except KvError as error:
        return str(error)
    finally:
        client.close()
    return ""
