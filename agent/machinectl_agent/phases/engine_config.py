"""Phase `engine-config`: daemon.json, dockerd's environment and the systemd drop-in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, List

from machinectl_agent.engine import cluster_store, daemon_json, known_good, unit
from machinectl_agent.engine.options import removed
from machinectl_agent.host import Host
from machinectl_agent.phases.base import Context, Step, Work, text_diff
from machinectl_agent.problems import Problem
from machinectl_agent.provisioners.installed import engine_version
from machinectl_agent.redact import redact_text


@dataclass(frozen=True)
class Seen:
    """The files, and whether an engine is installed at all."""

    files: daemon_json.Seen
    dockerd: str
    version: str
    """Of the installed engine; looked up only where an option is wanted that newer ones don't have."""


class EngineConfigPhase:
    """Written here, taken over by dockerd in phase `engine-service`."""

    name = "engine-config"

    def observe(self, host: Host, context: Context) -> Seen:
        seldom = removed(_keys(context), "999") is not None
        version = engine_version(host) if seldom else ""
        return Seen(daemon_json.observe(host), host.which("dockerd"), version)

    def plan(self, seen: Seen, context: Context) -> List[Step]:
        for version in (seen.version, context.spec.engine.version):
            _refuse_removed(_keys(context), version)
        files = seen.files
        spec = context.spec
        wanted = daemon_json.wanted(files, spec.engine, spec.network, spec.wishes)
        after = "" if seen.dockerd else "after install: "
        steps = []
        # before daemon.json what becomes ours, after it what no longer is: a crash in between must not turn our
        # entries into the host's own
        first = daemon_json.both_records(files.record_text, wanted.record_text)
        if files.record_text not in (wanted.record_text, first):
            title = "~ remember what of daemon.json is ours"
            steps.append(Step(f"{self.name}/record", title, lambda work: _remember(work, wanted.text, first)))
        if wanted.text != files.text:
            sign = "~" if files.text else "+"
            steps.append(
                Step(
                    f"{self.name}/write {daemon_json.FILE}",
                    f"{sign} {after}write {daemon_json.FILE}",
                    lambda work: _write_daemon_json(work, wanted.text),
                    text_diff(daemon_json.FILE, redact_text(files.text), redact_text(wanted.text)),
                )
            )
        if wanted.record_text not in (files.record_text, first):
            title = "~ forget what of daemon.json is no longer ours"
            steps.append(
                Step(
                    f"{self.name}/forget",
                    title,
                    lambda work: _remember(work, wanted.text, wanted.record_text),
                )
            )
        if wanted.environment != files.environment:
            names = ", ".join(sorted(context.spec.engine.env)) or "empty"
            title = f"{after}write {unit.ENVIRONMENT} ({names})"
            steps.append(self._write(unit.ENVIRONMENT, title, wanted.environment, 0o600))
        if wanted.drop_in != files.drop_in:
            diff = text_diff(unit.DROP_IN, files.drop_in, wanted.drop_in)
            steps.append(
                self._write(unit.DROP_IN, f"{after}write {unit.DROP_IN}", wanted.drop_in, 0o644, diff)
            )
        return steps

    def _write(self, name: str, title: str, text: str, mode: int, diff: str = "") -> Step:
        return Step(f"{self.name}/write {name}", f"~ {title}", _writer(name, text, mode), diff)


def _keys(context: Context) -> List[str]:
    """The keys of daemon.json that are wished for."""
    engine = context.spec.engine
    return [*engine.options, *(cluster_store.options(engine.cluster) if engine.cluster else ())]


def _refuse_removed(keys: List[str], version: str) -> None:
    """Every phase plans before the first one applies: nothing has changed by then, no package either."""
    option = removed(keys, version)
    if option:
        raise Problem(
            "engine-option-removed",
            f"Docker Engine {version} has no {option.key} any more",
            why=f"Docker removed it in Engine {option.until}",
            hint=option.instead,
        )


def _writer(name: str, text: str, mode: int) -> Callable[[Work], None]:
    def write(work: Work) -> None:
        known_good.keep(work.host)
        work.host.write(name, text, mode)

    return write


def _write_daemon_json(work: Work, text: str) -> None:
    validate(work.host, text)
    known_good.keep(work.host)
    # where it holds a secret, only root reads it; else it keeps its mode
    mode = 0o600 if redact_text(text) != text else work.host.mode(daemon_json.FILE) or 0o644
    work.host.write(daemon_json.FILE, text, mode)


def _remember(work: Work, text: str, record_text: str) -> None:
    """Validates first: a refused daemon.json must not leave a record of what was never written."""
    validate(work.host, text)
    known_good.keep(work.host)
    work.host.make_folder("/var/lib/machinectl", 0o700)
    work.host.write(daemon_json.RECORD, record_text, 0o600)


def validate(host: Host, text: str) -> None:
    """Asks dockerd itself (`--validate`, Engine 23 and later). Raises `Problem` `daemon-json-refused`."""
    if not host.which("dockerd"):
        return
    candidate = "/var/lib/machinectl/daemon.json.candidate"
    host.make_folder("/var/lib/machinectl", 0o700)
    host.write(candidate, text, 0o600)
    try:
        done = host.run("dockerd", "--validate", "--config-file", str(host.path(candidate)), deadline=20)
    finally:
        host.remove(candidate)
    if done.ok or "unknown flag: --validate" in done.stderr:
        return
    raise Problem(
        "daemon-json-refused",
        f"dockerd refuses the new {daemon_json.FILE}; the host keeps the one it has",
        why=done.tail(3),
        hint="correct the engine option that it names",
    )
