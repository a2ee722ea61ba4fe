"""Brings one machine to what the store says it should be: the story that create and provision share.

connect ─► certificates ─► agent: observe, plan, apply ─► ask dockerd over TLS ─► remember
"""

from __future__ import annotations

import dataclasses
import getpass
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from machinectl.actions.context import refresh_context
from machinectl.actions.network.cluster_store import cluster_spec
from machinectl.actions.network.membership import network_spec, settled
from machinectl.actions.once import Once
from machinectl.actions.report import Report, render_plan
from machinectl.actions.shared import SERVER, for_host, forget, knowing_others, own_authority, remember_host
from machinectl.actions.wishes import build_spec, package_path
from machinectl.model import Machine
from machinectl.pki.foreign import authority_folder, ensure_machine
from machinectl.pki.leaves import server_problem
from machinectl.pki.shared import Shared
from machinectl.remote.agent_client import run_agent
from machinectl.remote.become import Become
from machinectl.remote.bundle import build_bundle
from machinectl.remote.connection import Connection, open_connection
from machinectl.remote.engine_client import engine_version
from machinectl.store.contents import content_path, file_specs, forget_contents
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


@dataclass(frozen=True)
class Surveyed:
    """What a run would do on one machine."""

    steps: Sequence[Mapping[str, Any]]
    """As in the agent's `plan` event."""
    unchanged: Sequence[str] = ()
    """Phases with nothing to do."""
    since: Sequence[Mapping[str, Any]] = ()
    """What would bring the host back to the last apply: what has been changed there since."""

    def writes(self, path: str) -> bool:
        """A file of the engine's on the host changes."""
        return any(one["id"] == f"tls/write {path}" for one in self.steps)

    @property
    def restarts(self) -> bool:
        """dockerd would be down for a moment."""
        return any(one.get("restarts") for one in self.steps)


@dataclass(frozen=True)
class Converged:
    """What a run has done on one machine."""

    machine: Machine
    plan: Surveyed
    held: bool = False
    """Nothing was changed: dockerd would have been interrupted, and the run was to hold then."""


def converge(
    store: Store,
    machine: Machine,
    *,
    become: Become,
    report: Report,
    replace_host_key: bool = False,
    take_over: bool = False,
    once: Once | None = None,
) -> Machine:
    """`bring` without holding: returns the machine as it is remembered."""
    options: Options = {
        "become": become,
        "report": report,
        "replace_host_key": replace_host_key,
        "take_over": take_over,
    }
    return bring(store, machine, **options, once=once).machine


def bring(
    store: Store,
    machine: Machine,
    *,
    become: Become,
    report: Report,
    replace_host_key: bool = False,
    take_over: bool = False,
    hold: bool = False,
    once: Once | None = None,
    trust_agent: bool = False,
) -> Converged:
    """`trust_agent`: where nothing was to be done, dockerd is not asked over TLS what its agent has just asked it.

    The caller holds the machine's lock. Raises any `MachinectlError`; what was done so far stays done, and
    the next run goes on from there."""
    with connect(store, machine, become, report, replace_host_key=replace_host_key) as connection:
        machine = dataclasses.replace(machine, login=connection.settings.user)
        if machine.state == "new":
            # from here on the host changes: a create that is killed must be found by the next one
            store.save(machine)

        forget(store, machine, once, take_over=take_over)

        def attempt(known: Shared | None) -> tuple[dict[str, Any], Surveyed]:
            tls = for_host(store, machine, certificates(store, machine, take_over=take_over), once, known)
            spec = _spec(store, machine, tls, take_over=take_over, once=once)
            return _apply(store, connection, machine, spec, report, become=become, hold=hold)

        result, plan = knowing_others(connection, store, machine, attempt, once)
    if result["held"]:
        return Converged(machine, plan, held=True)
    if remember_host(store, machine, result["tls"]) and plan.writes(SERVER):
        report.line("the certificate is this store's: other stores that don't know it yet need a `provision`")
    machine = settled(machine)
    if plan.steps and not result.get("stopped"):
        # until dockerd has answered: a run that fails there is no success because the next one finds nothing to do
        machine = dataclasses.replace(machine, engine_version="")
    # new wishes are remembered once the host has them: one that dockerd refused was rolled back there
    store.save(machine)
    refresh_context(store, machine)
    if result.get("stopped"):
        report.line(
            f"the engine stays stopped, as wished {result['stopped']}: machinectl start {machine.name}"
        )
        return Converged(machine, plan)
    if trust_agent and _known_well(machine, plan, result):
        return Converged(machine, plan)
    engine = engine_version(machine.ip, machine.engine_port, store.folder(machine.name), VERIFY_DEADLINE)
    machine = dataclasses.replace(
        machine, state="ready", engine_version=str(engine["Version"]), os=str(result["facts"]["os_name"])
    )
    store.save(machine)
    forget_contents(store, machine.name, (str(one["sha256"]) for one in machine.files))
    report.line(f"Docker {machine.engine_version} is ready at {machine.url}")
    return Converged(machine, plan)


def _known_well(machine: Machine, plan: Surveyed, result: Mapping[str, Any]) -> bool:
    """It is as it was when dockerd last answered us, and its agent has just had an answer."""
    seen = (result["engine_version"], result["facts"]["os_name"])
    same = machine.state == "ready" and (machine.engine_version, machine.os) == seen
    return same and not plan.steps and bool(result.get("answers"))


def preview(
    store: Store,
    machine: Machine,
    *,
    become: Become,
    report: Report,
    replace_host_key: bool = False,
    take_over: bool = False,
    once: Once | None = None,
) -> str:
    """The plan as text, see `survey`."""
    options: Options = {
        "become": become,
        "report": report,
        "replace_host_key": replace_host_key,
        "take_over": take_over,
    }
    return render_plan(machine.name, survey(store, machine, **options, once=once).steps)


def survey(
    store: Store,
    machine: Machine,
    *,
    last: Machine | None = None,
    contents: Mapping[str, bytes] | None = None,
    become: Become,
    report: Report,
    replace_host_key: bool = False,
    take_over: bool = False,
    once: Once | None = None,
) -> Surveyed:
    """What a run would do. All that changes: the host gets the agent's bundle, the store the host's key.

    `last`: the machine as it was brought to its host last; asked for, `since` is filled in. `contents`: of files that
    are not in the store yet, by SHA-256."""
    watch = _Watch(report)
    with connect(store, machine, become, report, replace_host_key=replace_host_key) as connection:

        def attempt(known: Shared | None) -> None:
            so_far = _certificates_so_far(store, machine, take_over=take_over)
            tls = for_host(store, machine, so_far, once, known)
            spec = _spec(store, machine, tls, take_over=take_over, contents=contents, once=once)
            args: dict[str, Any] = {"spec": spec.to_json()}
            if last is not None:
                so_far = _certificates_so_far(store, last, take_over=take_over)
                before = for_host(store, last, so_far, None, known)
                args["last"] = _spec(store, last, before, take_over=take_over).to_json()
            request = wire.request("survey", args)
            run_agent(connection, build_bundle(), request, on_event=watch.event, deadline=APPLY_DEADLINE)

        knowing_others(connection, store, machine, attempt, once, keep=False)
    return watch.plan


class _Watch:
    """Keeps the plans that the agent tells, and passes on the rest."""

    def __init__(self, report: Report) -> None:
        self.plan = Surveyed(())
        self._report = report

    def event(self, message: Mapping[str, Any]) -> None:
        kind = message.get("event")
        if kind == "since":
            self.plan = dataclasses.replace(self.plan, since=message["steps"])
            return
        if kind == "plan":
            self.plan = dataclasses.replace(
                self.plan, steps=message["steps"], unchanged=message.get("unchanged", ())
            )
        self._report.event(message)


def _certificates_so_far(store: Store, machine: Machine, *, take_over: bool = False) -> TlsSpec:
    """Those that are there; what is not, is told so: nothing is made for a plan."""
    folder = store.path / "machines" / machine.name
    home = store.path / "certs" if take_over else authority_folder(store.path / "certs", folder)
    issued = server_problem(home, folder, server_names(machine)) != ""
    later = "(made by the run itself)"
    authority = home / "ca.pem"
    return TlsSpec(
        ca=authority.read_text() if authority.is_file() else later,
        server=later if issued else (folder / "server.pem").read_text(),
        server_key=later if issued else (folder / "server-key.pem").read_text(),
    )


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


def certificates(store: Store, machine: Machine, *, take_over: bool = False) -> TlsSpec:
    """The CA, the client's and this machine's certificates: made or renewed where they must be."""
    with store.lock():
        folder = store.folder(machine.name)
        made = ensure_machine(store.certs, folder, server_names(machine), take_over=take_over)
        own = own_authority(store, machine.name).decode()
        return TlsSpec(own, made.server.read_text(), made.server_key.read_text())


def server_names(machine: Machine) -> tuple[str, ...]:
    """What the server certificate is for."""
    return (machine.ip, machine.name, *machine.tls_san)


def _spec(
    store: Store,
    machine: Machine,
    tls: TlsSpec,
    *,
    take_over: bool,
    contents: Mapping[str, bytes] | None = None,
    once: Once | None = None,
) -> Spec:
    return build_spec(
        machine,
        tls,
        files=file_specs(store, machine.name, machine.files, contents),
        cluster=cluster_spec(store, machine),
        network=network_spec(store, machine),
        take_over=take_over,
        once=once,
    )


def _apply(
    store: Store,
    connection: Connection,
    machine: Machine,
    spec: Spec,
    report: Report,
    *,
    become: Become,
    hold: bool,
) -> tuple[dict[str, Any], Surveyed]:
    def need(files: list[dict[str, Any]]) -> None:
        for one in files:
            if "images" in one:
                from machinectl.actions.image.preload import preload  # noqa: PLC0415 - seldom

                preload(store, machine, one["images"], become, report)
                continue
            source = content_path(store, machine.name, str(one["sha256"]))
            if not source.is_file():
                source = package_path(machine, str(one["sha256"]))
            size = source.stat().st_size
            report.line(f"uploading {one['name']} ({size / 1e6:.1f} MB)")
            _upload(connection, source, str(one["path"]), size)

    watch = _Watch(report)
    args = {"spec": spec.to_json(), "for": whoami(), "hold": hold}
    request = wire.request("apply", args)
    result = run_agent(
        connection, build_bundle(), request, on_event=watch.event, need=need, deadline=APPLY_DEADLINE
    )
    return result, watch.plan


def _upload(connection: Connection, source: Path, path: str, size: int) -> None:
    connection.upload(source, path, mode=0o644, deadline=30 + size / UPLOAD_RATE)


def whoami() -> str:
    """User and host of this controller, for the one who finds the machine locked."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):
        return socket.gethostname()
