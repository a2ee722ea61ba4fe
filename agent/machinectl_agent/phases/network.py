"""Phase `network`: a member runs the network service, with its certificates for etcd and Docker's plugin socket.

Before `engine-config` and `engine-service`: the socket, the DNS server that daemon.json will name and the service
must be there when dockerd restarts. Without a wish a machine stays what it is; a member's service is kept on this
bundle then, nothing else. Leaving is in network_leave.py.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Callable, List, Mapping, Optional, Tuple

from machinectl_agent.bundle import CURRENT, own_hash
from machinectl_agent.engine import daemon_json
from machinectl_agent.engine.api import wait_until
from machinectl_agent.host import Host
from machinectl_agent.network.membership import (
    CERTIFICATES,
    FOLDER,
    certificates,
    identified,
    mode,
    parse_identity,
    render_config,
)
from machinectl_agent.network.paths import CONFIG
from machinectl_agent.phases import network_service as service
from machinectl_agent.phases.agent import switch_current
from machinectl_agent.phases.base import Context, Step, Work, text_diff, write_step
from machinectl_agent.problems import Problem
from machinectl_agent.spec import NetworkSpec
from machinectl_agent.templates import render

MODULES_FILE = "/etc/modules-load.d/machinectl-network.conf"
MODULES = ("vxlan", "bridge", "veth")

JOIN_DEADLINE = 45.0
"""Seconds until the machine is in etcd, alive and with an address."""

Files = Mapping[str, Tuple[Optional[str], Optional[int]]]


@dataclass(frozen=True)
class Seen:
    """What a member has; `member` is false where nobody wants one and none is there."""

    member: bool
    config: str = ""
    """network.json as it should be; as it is where nothing is wished for."""
    files: Any = None
    """Path → text and permission bits, as they are."""
    modules_text: str = ""
    loadable: Tuple[str, ...] = ()
    """Modules that are not loaded and that modprobe finds."""
    enabled: bool = False
    listening: bool = False
    current: str = ""
    running: service.Running = service.SILENT
    problem: Optional[Problem] = None
    """Why this host can't join; asked only where it is about to."""


class NetworkPhase:
    """Joins."""

    name = "network"

    def observe(self, host: Host, context: Context) -> Seen:
        wanted = context.spec.network
        present = host.read(CONFIG)
        if wanted.absent if wanted else present is None:
            return Seen(member=False)
        if wanted:
            wanted = identified(wanted, context.spec.name, present or "")
        config = _config(host, context, wanted) if wanted else str(present)
        link = host.path(CURRENT)
        names = (*CERTIFICATES, CONFIG, *(service.unit_file(unit) for unit in service.UNITS))
        return Seen(
            member=True,
            config=config,
            files={name: (host.read(name), host.mode(name)) for name in names},
            modules_text=host.read(MODULES_FILE) or "",
            loadable=_loadable(host),
            enabled=all(service.enabled(host, unit) for unit in service.UNITS),
            listening=service.listening(host),
            current=os.path.basename(os.readlink(link)) if link.is_symlink() else "",  # noqa: PTH115, PTH119 - a name
            running=service.running(host),
            problem=_problem(host, context.spec.name, wanted, present or "") if wanted else None,
        )

    def plan(self, seen: Seen, context: Context) -> List[Step]:
        if not seen.member:
            return []
        if seen.problem:
            raise seen.problem
        wanted, mine = context.spec.network, own_hash()
        steps = [
            *write_step(
                self.name, MODULES_FILE, seen.modules_text, render("modules-load.conf", modules=MODULES)
            ),
            *(
                Step(f"{self.name}/load {name}", f"+ load the kernel module {name}", _Loader(name))
                for name in seen.loadable
            ),
        ]
        if mine and seen.current != mine:
            steps.append(
                Step(f"{self.name}/current", f"~ make {mine[:12]} the current agent", switch_current)
            )
        if wanted:
            steps.extend(self._certificates(seen.files, wanted))
        units = service.unit_texts()
        for unit, text in units.items():
            steps.extend(
                write_step(
                    self.name, service.unit_file(unit), seen.files[service.unit_file(unit)][0] or "", text
                )
            )
        socket_changes = seen.files[service.unit_file(service.SOCKET)][0] != units[service.SOCKET]
        unit_changes = seen.files[service.unit_file(service.SERVICE)][0] != units[service.SERVICE]
        config_changes = bool(wanted) and seen.files[CONFIG] != (seen.config, mode(CONFIG))
        if config_changes:
            before = seen.files[CONFIG][0] or ""
            title = f"{'~' if before else '+'} write {CONFIG}"
            steps.append(
                Step(
                    f"{self.name}/write {CONFIG}",
                    title,
                    _Writer(CONFIG, seen.config),
                    text_diff(CONFIG, before, seen.config),
                )
            )
        if not seen.enabled:
            title = f"+ enable {service.SOCKET} and {service.SERVICE} at boot"
            steps.append(Step(f"{self.name}/enable", title, service.enable))
        if socket_changes or not seen.listening:
            steps.append(Step(f"{self.name}/listen", f"+ start {service.SOCKET}", service.listen))
        reason = _restart_reason(seen, changes=unit_changes or config_changes)
        if reason or socket_changes or not seen.listening:
            sign = "!" if seen.running.pid else "+"
            words = f"restart {service.SERVICE} ({reason or 'its socket changes'})"
            title = f"{sign} {words if seen.running.pid else 'start ' + service.SERVICE}"
            steps.append(Step(f"{self.name}/start", title, service.start))
        if config_changes:
            title = "+ join the networks" if not seen.files[CONFIG][0] else "~ join the networks anew"
            steps.append(Step(f"{self.name}/join", title, _joiner(parse_identity(seen.config).id)))
        return steps

    def _certificates(self, files: Files, wanted: NetworkSpec) -> List[Step]:
        steps = []
        for name, text in certificates(wanted).items():
            now = files[name]
            if text and now != (text, mode(name)):
                sign = "+" if now[0] is None else "~"
                steps.append(Step(f"{self.name}/write {name}", f"{sign} write {name}", _Writer(name, text)))
            elif not text and now[0] is not None:
                steps.append(Step(f"{self.name}/remove {name}", f"- remove {name}", _Remover(name)))
        return steps


def _config(host: Host, context: Context, wanted: NetworkSpec) -> str:
    files = daemon_json.observe(host)
    upstreams = daemon_json.upstreams(files, context.spec.engine, wanted)
    return render_config(context.spec.name, wanted, upstreams)


def _problem(host: Host, name: str, wanted: NetworkSpec, present: str) -> Optional[Problem]:
    """A machine that has joined must not fail because etcd is away, or an address gone, later."""
    if parse_identity(present) == (wanted.id, name, wanted.vtep):
        return None
    from machinectl_agent.network import admission  # noqa: PLC0415 - with etcd's client, 10 ms

    try:
        admission.check(host, name, wanted)
    except Problem as problem:
        return problem
    return None


def _loadable(host: Host) -> Tuple[str, ...]:
    """None of those that are built in: modprobe finds nothing to load for them."""
    missing = [name for name in MODULES if not host.exists(f"/sys/module/{name}")]
    if not missing or not host.which("modprobe"):
        return ()
    return tuple(
        name
        for name in missing
        if "insmod " in host.run("modprobe", "-n", "--show-depends", name, deadline=20).stdout
    )


def _restart_reason(seen: Seen, *, changes: bool) -> str:
    """Empty: what runs is this bundle with what is on the disk."""
    if not seen.running.pid:
        return "it does not run"
    if seen.running.bundle != own_hash():
        return f"it runs from {seen.running.bundle[:12]}"
    if changes:
        return "its configuration changes"
    return "it has an older configuration" if seen.running.stale else ""


def _joiner(mine: str) -> Callable[[Work], None]:
    def join(work: Work) -> None:
        trouble = ""

        def joined() -> bool:
            nonlocal trouble
            try:
                members = service.ask("machines", {}, 10.0)["machines"]
            except Problem as problem:
                trouble = f"{problem.what}: {problem.why}"
                return False
            me = [one for one in members if one["id"] == mine]  # type: ignore[attr-defined] # JSON
            trouble = "" if me else "etcd has no record of this machine yet"
            return bool(me and me[0]["vtep"] and me[0]["alive"])

        if not wait_until(joined, JOIN_DEADLINE, 0.2):
            raise Problem(
                "network-join-failed",
                "the machine does not become a member",
                why="\n".join(part for part in (trouble, service.journal(work.host)) if part),
                hint=f"look at `journalctl -u {service.SERVICE}` on the host, then run the same command again",
            )

    return join


class _Loader:
    def __init__(self, module: str) -> None:
        self._module = module

    def __call__(self, work: Work) -> None:
        work.host.must("modprobe", self._module, deadline=30)


class _Writer:
    """A closure whose repr shows no key."""

    def __init__(self, name: str, text: str) -> None:
        self._name, self._text = name, text

    def __call__(self, work: Work) -> None:
        work.host.make_folder("/etc/machinectl", 0o755)
        if self._name in CERTIFICATES:
            work.host.make_folder(FOLDER, 0o700)
        work.host.write(self._name, self._text, mode(self._name))


class _Remover:
    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, work: Work) -> None:
        work.host.remove(self._name)
