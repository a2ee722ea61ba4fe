"""One conversation with a controller over stdin and stdout: request in, events out (see wire.py)."""

from __future__ import annotations

import signal
import sys
from typing import Any, Callable, Dict, Mapping

from machinectl_agent import wire
from machinectl_agent.bundle import own_hash
from machinectl_agent.conversation import Session, told
from machinectl_agent.facts import gather
from machinectl_agent.host import Host
from machinectl_agent.lock import apply_lock
from machinectl_agent.phases.base import Context, Work
from machinectl_agent.problems import Problem
from machinectl_agent.spec import Spec, SpecError
from machinectl_agent.version import __version__

__all__ = ["Session", "serve_request"]


def serve_request(verb: str) -> int:
    """Exit status 0 after `done`, 1 after `error`."""
    # a lost connection must not kill dpkg or a half-done restart: the step ends, then the run stops
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    session = Session(sys.stdin.buffer, sys.stdout.buffer)
    session.emit(wire.hello(own_hash(), __version__))
    session.beat()
    return told(session, lambda: _VERBS[verb](session, session.read_request()["args"]))


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
