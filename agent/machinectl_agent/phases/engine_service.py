"""Phase `engine-service`: dockerd runs with the files that are on the disk, and at every boot.

What is needed (start, reload, restart, nothing) is observed, see engine/loaded.py. A dockerd that does not
come up gets back the files that it last ran with, and the error carries its last words.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, List, Mapping

from machinectl_agent.engine import (
    api,
    certificates,
    cluster_store,
    daemon_json,
    known_good,
    loaded,
    stopped,
    unit,
    unix_socket,
)
from machinectl_agent.host import Host
from machinectl_agent.phases.base import Context, Step, Work
from machinectl_agent.problems import Problem
from machinectl_agent.spec import Spec

START_DEADLINE = 120.0
"""Seconds; dockerd with many containers and a slow disk takes its time."""

JOURNAL_LINES = 12


@dataclass(frozen=True)
class Seen:
    """systemd's view of docker.service, and what dockerd has loaded."""

    unit: Mapping[str, str]
    loaded: loaded.Loaded
    live_restore_wanted: bool
    live_restore: bool
    """The running dockerd keeps containers alive over its own restart."""
    containers: int
    """Running ones; not counted where dockerd is left as it is."""
    outdated: bool = False
    """An upgrade has replaced the program that still runs."""
    stopped: bool = False
    """`machinectl stop` wished it to stay down."""

    @property
    def active(self) -> bool:
        return self.unit.get("ActiveState") == "active"


class EngineServicePhase:
    """Reload where that is enough, restart only where it must be."""

    name = "engine-service"

    def observe(self, host: Host, context: Context) -> Seen:
        shown = show_unit(host)
        pid = int(shown.get("MainPID", "0") or 0)
        running = shown.get("ActiveState") == "active"
        spec = context.spec
        wanted = daemon_json.wanted(daemon_json.observe(host), spec.engine, spec.network, spec.wishes)
        files = wanted_files(wanted, context.spec, certificates.observe(host))
        has = loaded.compare(host, pid if running else 0, files)
        outdated = context.spec.engine.upgrade and running and _replaced(host, pid)
        # what matters for a restart only is not asked where there is none: with http.client that costs 20 ms
        engine = _engine_info() if running and (outdated or has.verdict != "nothing") else {}
        return Seen(
            unit=shown,
            loaded=has,
            live_restore_wanted=bool(wanted.document.get("live-restore")),
            live_restore=bool(engine.get("LiveRestoreEnabled")),
            containers=int(engine.get("ContainersRunning", 0)),
            outdated=outdated,
            stopped=stopped.wished_stopped(host),
        )

    def plan(self, seen: Seen, context: Context) -> List[Step]:
        steps = []
        if seen.unit.get("LoadState") == "masked":
            raise Problem(
                "engine-masked",
                "docker.service is masked on this host: somebody has forbidden it to run",
                hint="`systemctl unmask docker.service docker.socket` on the host, if that is meant",
            )
        if seen.unit.get("LoadState") not in ("loaded", None):
            return [Step(f"{self.name}/start", "+ after install: enable and start docker.service", start)]
        if seen.stopped and not seen.active:
            return []  # it loads what the other phases have written when it is started
        if seen.stopped:
            steps.append(Step(f"{self.name}/forget", "~ forget that the engine was stopped: it runs", forget))
        if seen.unit.get("UnitFileState") != "enabled":
            steps.append(Step(f"{self.name}/enable", "+ enable docker.service at boot", enable))
        verdict, reason = seen.loaded.verdict, seen.loaded.reason
        if seen.outdated and verdict != "restart":
            # not every distribution's package restarts what it has replaced
            verdict, reason = "restart", "a newer dockerd is installed"
        if verdict == "restart" and seen.active:
            if seen.containers and seen.live_restore_wanted and not seen.live_restore:
                title = f"~ turn live-restore on first, for {seen.containers} running containers"
                steps.append(Step(f"{self.name}/live-restore", title, turn_live_restore_on))
            elif seen.containers and not seen.live_restore_wanted:
                reason += f"; {seen.containers} running containers stop, live-restore is off"
            title = f"! restart docker.service ({reason})"
            steps.append(Step(f"{self.name}/restart", title, start, restarts=True))
        elif verdict == "restart":
            steps.append(Step(f"{self.name}/start", "+ start docker.service", start))
        elif verdict == "reload":
            steps.append(Step(f"{self.name}/reload", f"~ reload docker.service ({reason})", reload))
        return steps


def wanted_files(wanted: daemon_json.Wanted, spec: Spec, present: certificates.Present) -> Mapping[str, str]:
    """Every file that dockerd reads at start, as it should be: path → text."""
    tls = certificates.wanted(present, spec)
    return {
        daemon_json.FILE: wanted.text,
        unit.DROP_IN: wanted.drop_in,
        unit.ENVIRONMENT: wanted.environment,
        daemon_json.CA: tls.ca,
        daemon_json.CERT: tls.server,
        daemon_json.KEY: tls.key,
        **cluster_store.texts(spec.engine.cluster),
    }


def show_unit(host: Host) -> Mapping[str, str]:
    """systemctl show: LoadState, ActiveState, SubState, UnitFileState, MainPID."""
    names = "LoadState,ActiveState,SubState,UnitFileState,MainPID,NeedDaemonReload"
    text = host.must("systemctl", "show", unit.UNIT, "--property", names, deadline=20)
    return dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)


def enable(work: Work) -> None:
    """The socket as well, where the unit has one: `fd://` takes dockerd's unix socket from it."""
    socket = ("docker.socket",) if work.host.run("systemctl", "cat", "docker.socket", deadline=20).ok else ()
    work.host.must("systemctl", "enable", unit.UNIT, *socket, deadline=60)


def forget(work: Work) -> None:
    """Somebody has started it on the host."""
    stopped.forget_stopped(work.host)


def start(work: Work) -> None:
    """Starts or restarts dockerd with the new files; rolls back where it does not come up."""
    host = work.host
    host.must("systemctl", "daemon-reload", deadline=60)
    if show_unit(host).get("UnitFileState") != "enabled":
        enable(work)
    trouble = _restart(host)
    if not trouble:
        loaded.remember(host, int(show_unit(host)["MainPID"]))
        known_good.forget(host)
        return
    if not known_good.restore(host):
        raise Problem("engine-start-failed", "dockerd does not start", why=trouble, hint=_JOURNAL_HINT)
    work.log("dockerd does not come up with the new configuration: putting the old one back")
    host.must("systemctl", "daemon-reload", deadline=60)
    again = _restart(host)
    if not again:
        loaded.remember(host, int(show_unit(host)["MainPID"]))
    outcome = (
        "it does not start with the old one either"
        if again
        else "the old one is back and dockerd runs with it"
    )
    raise Problem(
        "engine-start-failed",
        f"dockerd does not start with the new configuration; {outcome}",
        why=trouble,
        hint="correct the option that dockerd names above, or look at `journalctl -u docker` on the host",
    )


_JOURNAL_HINT = "look at `journalctl -u docker` on the host"


def reload(work: Work) -> None:
    """SIGHUP. dockerd takes over a valid file or none of it, and says so only in its journal."""
    host = work.host
    pid = int(show_unit(host)["MainPID"])
    gone = loaded.gone_lists(host)
    text = host.read(daemon_json.FILE) or ""
    if gone:
        # it takes over an empty list, and does not see that there is none any more
        mode = host.mode(daemon_json.FILE) or 0o600
        emptied = {**json.loads(text), **{key: [] for key in gone}}
        host.write(daemon_json.FILE, json.dumps(emptied), mode)
        try:
            outcome = _hang_up(host)
        finally:
            host.write(daemon_json.FILE, text, mode)
    else:
        outcome = _hang_up(host)
    if outcome != "reloaded":
        known_good.restore(host)
        host.run("systemctl", "reload", unit.UNIT, deadline=60)
        raise Problem(
            "engine-reload-failed",
            f"dockerd refuses the new {daemon_json.FILE}; the old one is back",
            why=outcome,
            hint="correct the option that dockerd names above",
        )
    loaded.remember(host, pid)
    known_good.forget(host)


def _hang_up(host: Host) -> str:
    """`reloaded`, or dockerd's complaint."""
    cursor = _journal_cursor(host)
    host.must("systemctl", "reload", unit.UNIT, deadline=60)
    # it says so within milliseconds; the time is for a host that has much else to do
    done = api.wait_until(lambda: _reload_outcome(host, cursor) != "", 60)
    return _reload_outcome(host, cursor) if done else "no word about the reload in dockerd's journal"


def turn_live_restore_on(work: Work) -> None:
    """With the file that dockerd runs with plus this one key, so that the reload is accepted (it would not be
    with options that collide with the old command line)."""
    host = work.host
    known_good.keep(host)
    mode = host.mode(daemon_json.FILE) or 0o600
    new = host.read(daemon_json.FILE) or ""
    saved = json.loads(host.read(known_good.COPY) or "{}").get(daemon_json.FILE)
    old = json.loads(saved[0]) if saved and saved[0].strip() else {}
    host.write(daemon_json.FILE, json.dumps({**old, "live-restore": True}), mode)
    try:
        host.must("systemctl", "reload", unit.UNIT, deadline=60)
        if not api.wait_until(lambda: bool(api.get("/info").get("LiveRestoreEnabled")), 20):
            work.log("dockerd did not take live-restore over: running containers will be restarted with it")
    finally:
        host.write(daemon_json.FILE, new, mode)


def _restart(host: Host) -> str:
    """Restarts and waits until the API answers; the journal's last lines where it does not, else nothing."""
    cursor = _journal_cursor(host)
    # a unit that failed five times in a row refuses to be started until this is done (systemd.unit(5))
    host.run("systemctl", "reset-failed", unit.UNIT, deadline=20)
    units = ("docker.socket", unit.UNIT) if unix_socket.was_replaced(host) else (unit.UNIT,)
    try:
        done = host.run("systemctl", "restart", *units, deadline=START_DEADLINE)
    except Problem as problem:
        # a start that hangs is one that failed: end it, so that the old files get their turn
        host.run("systemctl", "kill", "--signal=SIGKILL", unit.UNIT, deadline=20)
        host.run("systemctl", "stop", unit.UNIT, deadline=60)
        return "\n".join(part for part in (problem.what, journal_since(host, cursor)) if part)
    if done.ok and api.wait_until(lambda: api.get("/_ping") is not None, 30):
        return ""
    return journal_since(host, cursor) or done.tail(3) or "systemd gives no reason"


def journal_since(host: Host, cursor: str) -> str:
    """dockerd's own last words since a cursor: errors and fatal lines where there are any. Raises nothing: no work
    depends on words."""
    with suppress(Problem):
        host.run("journalctl", "--sync", deadline=5)  # what it said when it died may still be on its way
    try:
        # not what containers say by its journald log driver
        written = _journal_lines(host, cursor, "-t", "dockerd") or _journal_lines(host, cursor)
    except Problem as problem:
        return problem.what
    return "\n".join(([line for line in written if _tells(line)] or written)[-JOURNAL_LINES:])


def _tells(line: str) -> bool:
    # Engine 20.10 dies with a bare line: what is neither dockerd's chatter nor systemd's. Both kinds are told: the
    # dockerd that was stopped before may have had errors of its own
    is_bare = "level=" not in line and not line.startswith(_SYSTEMD)
    return is_bare or any(sign in line for sign in _TROUBLE)


_SYSTEMD = ("docker.service:", "Starting ", "Started ", "Stopping ", "Stopped ", "Failed to start ")
_TROUBLE = ("level=fatal", "level=error", "unable to configure", "failed to start daemon")


def _journal_lines(host: Host, cursor: str, *more: str) -> List[str]:
    since = ("--after-cursor", cursor) if cursor else ()
    words = ("journalctl", "-u", unit.UNIT, "-o", "cat", "--no-pager", "-n", "200", *more, *since)
    return host.run(*words, deadline=20).stdout.splitlines()


def _reload_outcome(host: Host, cursor: str) -> str:
    """`reloaded`, dockerd's complaint, or nothing yet. All of it comes after its word about the signal."""
    heard = False
    for line in _journal_lines(host, cursor):
        heard = heard or "Got signal to reload configuration" in line
        if heard and "Reloaded configuration" in line:
            return "reloaded"
        if heard and any(sign in line for sign in _TROUBLE):
            return line
    return ""


def _journal_cursor(host: Host) -> str:
    """The unit's own last entry: behind one of another unit journalctl of systemd 252 passes over the first entry of
    ours, which may be dockerd's word about the signal."""
    words = ("journalctl", "-u", unit.UNIT, "-n", "1", "-o", "cat", "--show-cursor", "--no-pager")
    text = host.run(*words, deadline=20).stdout
    return text.partition("-- cursor: ")[2].strip()


def _replaced(host: Host, pid: int) -> bool:
    """The kernel says so behind the path of a program whose file is gone (proc_pid_exe(5))."""
    try:
        return os.readlink(host.path(f"/proc/{pid}/exe")).endswith(" (deleted)")  # noqa: PTH115 - a string is wanted
    except OSError:
        return False


def _engine_info() -> Mapping[str, Any]:
    try:
        return dict(api.get("/info", deadline=10))
    except api.ApiError:
        return {}
