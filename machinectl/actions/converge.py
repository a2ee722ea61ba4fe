"""Brings one machine to what the store says it should be: the story that create and provision share.

connect ─► certificates ─► agent: observe, plan, apply ─► ask dockerd over TLS ─► remember
"""

from __future__ import annotations

import dataclasses
import getpass
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from machinectl.actions.network.cluster_store import cluster_spec
from machinectl.actions.network.membership import network_spec, settled
from machinectl.actions.report import Report, render_plan
from machinectl.actions.wishes import build_spec, package_path
from machinectl.model import Machine
from machinectl.pki.authority import ensure_authority
from machinectl.pki.leaves import ensure_server, server_problem
from machinectl.remote.agent_client import run_agent
from machinectl.remote.become import Become
from machinectl.remote.bundle import build_bundle
from machinectl.remote.connection import Connection, open_connection
from machinectl.remote.engine_client import engine_version
from machinectl.store.store import Store
from machinectl_agent import wire
from machinectl_agent.spec import Spec, TlsSpec

APPLY_DEADLINE = 1800.0
"""Seconds for everything that the agent does; each of its commands has a deadline of its own."""

VERIFY_DEADLINE = 20.0
"""Seconds for dockerd's first answer over TLS."""

UPLOAD_RATE = 256 * 1024
"""Bytes per second that an upload is given at least, on top of half a minute."""


class Options(TypedDict):
    """What `converge` and `preview` take alike."""

    become: Become
    report: Report
    replace_host_key: bool
    take_over: bool


def converge(
    store: Store,
    machine: Machine,
    *,
    become: Become,
    report: Report,
    replace_host_key: bool = False,
    take_over: bool = False,
) -> Machine:
    """The caller holds the machine's lock. Raises any `MachinectlError`; what was done so far stays done, and
    the next run goes on from there."""
    with connect(store, machine, become, report, replace_host_key=replace_host_key) as connection:
        machine = dataclasses.replace(machine, login=connection.settings.user)
        if machine.state == "new":
            # from here on the host changes: a create that is killed must be found by the next one
            store.save(machine)
        tls = certificates(store, machine)
        spec = _spec(store, machine, tls, take_over=take_over)
        result = _apply(connection, machine, spec, report)
    machine = settled(machine)
    # new wishes are remembered once the host has them: one that dockerd refused was rolled back there
    store.save(machine)
    engine = engine_version(machine.ip, machine.engine_port, store.folder(machine.name), VERIFY_DEADLINE)
    machine = dataclasses.replace(
        machine, state="ready", engine_version=str(engine["Version"]), os=str(result["facts"]["os_name"])
    )
    store.save(machine)
    report.line(f"Docker {machine.engine_version} is ready at {machine.url}")
    return machine


def preview(
    store: Store,
    machine: Machine,
    *,
    become: Become,
    report: Report,
    replace_host_key: bool = False,
    take_over: bool = False,
) -> str:
    """The plan as text. All that changes: the host gets the agent's bundle, the store the host's key."""
    folder = store.path / "machines" / machine.name
    issued = server_problem(store.path / "certs", folder, server_names(machine)) != ""
    later = "(made by the run itself)"
    authority = store.path / "certs/ca.pem"
    tls = TlsSpec(
        ca=authority.read_text() if authority.is_file() else later,
        server=later if issued else (folder / "server.pem").read_text(),
        server_key=later if issued else (folder / "server-key.pem").read_text(),
    )
    steps: list[Mapping[str, Any]] = []

    def on_event(message: Mapping[str, Any]) -> None:
        if message.get("event") == "plan":
            steps.extend(message["steps"])
        else:
            report.event(message)

    with connect(store, machine, become, report, replace_host_key=replace_host_key) as connection:
        spec = _spec(store, machine, tls, take_over=take_over)
        request = wire.request("apply", {"spec": spec.to_json(), "dry_run": True})
        run_agent(connection, build_bundle(), request, on_event=on_event, deadline=APPLY_DEADLINE)
    return render_plan(machine.name, steps)


def connect(
    store: Store, machine: Machine, become: Become, report: Report, *, replace_host_key: bool = False
) -> Connection:
    """One SSH connection, the host's key pinned or checked."""
    report.line(f"connecting to {machine.ssh.host} by SSH")
    return open_connection(
        machine.ssh,
        machine=machine.name,
        known_hosts=store.known_hosts,
        become=become,
        replace_host_key=replace_host_key,
    )


def certificates(store: Store, machine: Machine) -> TlsSpec:
    """The CA, the client's and this machine's certificates: made or renewed where they must be."""
    with store.lock():
        authority = ensure_authority(store.certs)
        made = ensure_server(authority, store.folder(machine.name), server_names(machine))
    return TlsSpec(*(path.read_text() for path in (made.ca, made.server, made.server_key)))


def server_names(machine: Machine) -> tuple[str, ...]:
    """What the server certificate is for."""
    return (machine.ip, machine.name, *machine.tls_san)


def _spec(store: Store, machine: Machine, tls: TlsSpec, *, take_over: bool) -> Spec:
    cluster, network = cluster_spec(store, machine), network_spec(store, machine)
    return build_spec(machine, tls, cluster=cluster, network=network, take_over=take_over)


def _apply(connection: Connection, machine: Machine, spec: Spec, report: Report) -> dict[str, Any]:
    def need(files: list[dict[str, Any]]) -> None:
        for one in files:
            source = package_path(machine, str(one["sha256"]))
            size = source.stat().st_size
            report.line(f"uploading {source.name} ({size / 1e6:.1f} MB)")
            _upload(connection, source, str(one["path"]), size)

    request = wire.request("apply", {"spec": spec.to_json(), "for": whoami()})
    return run_agent(
        connection, build_bundle(), request, on_event=report.event, need=need, deadline=APPLY_DEADLINE
    )


def _upload(connection: Connection, source: Path, path: str, size: int) -> None:
    connection.upload(source, path, mode=0o644, deadline=30 + size / UPLOAD_RATE)


def whoami() -> str:
    """User and host of this controller, for the one who finds the machine locked."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):
        return socket.gethostname()
