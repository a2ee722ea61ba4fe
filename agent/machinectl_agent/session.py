"""One conversation with a controller over stdin and stdout: request in, events out (see wire.py)."""

from __future__ import annotations

import signal
import sys
import threading
from typing import Any, BinaryIO, Callable, Dict, List, Mapping

from machinectl_agent import wire
from machinectl_agent.bundle import own_hash
from machinectl_agent.facts import gather
from machinectl_agent.host import Host
from machinectl_agent.lock import apply_lock
from machinectl_agent.phases.base import Context, Work
from machinectl_agent.problems import Problem
from machinectl_agent.spec import Spec, SpecError
from machinectl_agent.version import __version__

HEARTBEAT = 10.0
"""Seconds between `alive` events; the controller takes a longer silence for a dead host."""


class Session:
    """Writes events; a controller that has gone away is noticed between steps, never inside one."""

    def __init__(self, stdin: BinaryIO, stdout: BinaryIO) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self._writing = threading.Lock()
        self.gone = False
        """Nobody listens any more."""
        self._ended = threading.Event()

    def emit(self, message: Mapping[str, Any]) -> None:
        """Raises `Problem` `controller-gone` when a step is about to begin and nobody listens any more."""
        with self._writing:
            if not self.gone:
                try:
                    self._stdout.write(wire.encode(message))
                    self._stdout.flush()
                except OSError:
                    self.gone = True
        if self.gone and message.get("event") == "step" and message.get("state") == "started":
            raise Problem("controller-gone", "the controller went away; the next run finishes the job")

    def log(self, text: str) -> None:
        self.emit({"event": "log", "text": text})

    def need(self, files: List[Dict[str, Any]]) -> None:
        """Asks for files and waits for the reply; the heartbeat goes on meanwhile."""
        self.emit({"event": "need", "files": files})
        line = self._stdin.readline()
        if not line:
            raise Problem("controller-gone", "the controller went away; the next run finishes the job")
        reply = wire.decode(line)
        if reply.get("reply") != "need":
            raise Problem(
                "need-refused", "the controller did not deliver the files", why=str(reply.get("why", ""))
            )

    def beat(self) -> None:
        """A background thread until `end` is called."""

        def run() -> None:
            while not self._ended.wait(HEARTBEAT):
                self.emit({"event": "alive"})

        threading.Thread(target=run, name="heartbeat", daemon=True).start()

    def end(self) -> None:
        self._ended.set()

    def read_request(self) -> wire.Message:
        """Raises `Problem` `wire` or `wire-version`."""
        try:
            request = wire.decode(self._stdin.readline())
        except wire.WireError as error:
            raise Problem("wire", "the agent did not understand the controller", why=str(error)) from error
        try:
            wire.check_version(request)
        except wire.WireError as error:
            hint = "use the same version of machinectl, or `machinectl agent upgrade NAME`"
            raise Problem("wire-version", str(error), hint=hint) from error
        return request


def serve_request(verb: str) -> int:
    """Exit status 0 after `done`, 1 after `error`."""
    # a lost connection must not kill dpkg or a half-done restart: the step ends, then the run stops
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    session = Session(sys.stdin.buffer, sys.stdout.buffer)
    session.emit(wire.hello(own_hash(), __version__))
    session.beat()
    return told(session, lambda: _VERBS[verb](session, session.read_request()["args"]))


def told(session: Session, work: Callable[[], Dict[str, Any]]) -> int:
    """Does the work and says how it ended: exit status 0 after `done`, 1 after `error`."""
    try:
        result = work()
    except Problem as problem:
        session.end()
        session.emit(problem.to_message())
        return 1
    except Exception as error:
        session.end()
        import traceback  # noqa: PLC0415 - 2 ms

        why = "".join(traceback.format_exception(type(error), error, error.__traceback__)[-3:])
        session.emit(wire.error("agent-fault", f"a fault of the agent's own: {error}", why, "report this"))
        return 1
    session.end()
    session.emit(wire.done(result))
    return 0


def _apply(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    """args: spec (spec.py), dry_run, hold (do nothing where dockerd would be interrupted), last (with dry_run: the
    spec of the last apply, whose plan tells what has been changed on the host since), for (who runs the
    controller) → facts, changed, held, engine_version, stopped (by whose wish dockerd is down; empty: it runs), tls
    (ca and server: the PEM files that dockerd has)."""
    from machinectl_agent.engine.applied import owners_changes, remember  # noqa: PLC0415
    from machinectl_agent.engine.daemon_json import CA, CERT  # noqa: PLC0415 - `facts` needs none of it
    from machinectl_agent.engine.stopped import whose_wish  # noqa: PLC0415
    from machinectl_agent.engine.wishes import with_others  # noqa: PLC0415
    from machinectl_agent.phases.order import PHASES  # noqa: PLC0415 - `facts` needs none of them
    from machinectl_agent.provisioners.installed import engine_version  # noqa: PLC0415
    from machinectl_agent.registry.sources import told  # noqa: PLC0415
    from machinectl_agent.runner import apply, make_plan, plan_event  # noqa: PLC0415

    spec = _spec(args["spec"])
    host = Host()
    facts = gather(host)
    session.emit({"event": "facts", "facts": facts.to_json()})
    if not facts.systemd:
        raise Problem(
            "no-systemd",
            "this host does not run systemd",
            why="machinectl starts and supervises dockerd by systemd",
            hint="use a host with systemd",
        )
    if args.get("dry_run"):
        if args.get("last"):
            last = with_others(host, _spec(args["last"]))
            since = make_plan(host, Context(last, facts), PHASES)
            steps = plan_event(since)["steps"] + owners_changes(host, last.engine, last.network)
            session.emit({"event": "since", "steps": steps})
        plan = make_plan(host, Context(with_others(host, spec), facts), PHASES)
        session.emit(plan_event(plan))
        return {"facts": facts.to_json(), "changed": 0, "held": False, "engine_version": engine_version(host)}
    with apply_lock(session.log, wait=float(args.get("lock_wait", 300)), who=str(args.get("for", ""))):
        work = Work(host, session.log, session.need)
        if spec.engine.upgrade:
            from machinectl_agent.provisioners.upgrade import refresh  # noqa: PLC0415 - seldom

            refresh(host, facts, spec, session.log)
        context = Context(with_others(host, spec), facts)
        before = told(host)
        changed = apply(work, context, PHASES, session.emit, hold=bool(args.get("hold")))
        if changed is not None:
            remember(host)
    if changed and told(host) != before:
        from machinectl_agent.registry.probe import warn_of_mirrors  # noqa: PLC0415 - seldom

        warn_of_mirrors(host, lambda text: session.emit({"event": "warning", "text": text}))
    result = {"changed": changed or 0, "held": changed is None, "engine_version": engine_version(host)}
    tls = {"ca": host.read(CA) or "", "server": host.read(CERT) or ""}
    return {"facts": facts.to_json(), "stopped": whose_wish(host), "tls": tls, **result}


def _spec(document: Mapping[str, Any]) -> Spec:
    try:
        return Spec.from_json(document)
    except SpecError as error:
        raise Problem("spec", "the agent does not understand the wanted state", why=str(error)) from error


def _upgrade(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    from machinectl_agent.upgrade import upgrade  # noqa: PLC0415 - the others need none of it

    return upgrade(Work(Host(), session.log, session.need), args, session.emit)


def _etcd(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    from machinectl_agent.etcd.apply import apply_etcd  # noqa: PLC0415 - the others need none of it

    return apply_etcd(Work(Host(), session.log, session.need), args, session.emit)


def _files(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    from machinectl_agent.files.ops import run_op  # noqa: PLC0415 - the others need none of it

    return run_op(session, args)


def _power(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    from machinectl_agent.power import power  # noqa: PLC0415 - the others need none of it

    return power(Work(Host(), session.log, session.need), args, session.emit)


def _volumes(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    from machinectl_agent.volumes.ops import volumes  # noqa: PLC0415 - the others need none of it

    return volumes(session, args)


def _images(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    from machinectl_agent.images.ops import serve  # noqa: PLC0415 - the others need none of it

    return serve(session, args)


def _registry(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    from machinectl_agent.registry.verb import registry  # noqa: PLC0415 - the others need none of it

    return registry(Work(Host(), session.log, session.need), args, session.emit)


def _shares(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    from machinectl_agent.shares.ops import shares  # noqa: PLC0415 - the others need none of it

    return shares(session, args)


_VERBS: Dict[str, Callable[[Session, Mapping[str, Any]], Dict[str, Any]]] = {
    "apply": _apply,
    "etcd": _etcd,
    "files": _files,
    "facts": lambda _session, _args: gather(Host()).to_json(),
    "images": _images,
    "power": _power,
    "registry": _registry,
    "shares": _shares,
    "upgrade": _upgrade,
    "volumes": _volumes,
}
