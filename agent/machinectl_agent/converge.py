"""The verbs `survey` and `apply`: from a wanted state in a request to a plan, and to a host that is so.

The daemon answers a survey itself, and an apply that has nothing to do: it has everything loaded, which takes 15 ms
of processor time where a Python that starts takes 90. It never changes anything: what changes may restart it, and its
unit allows it little.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, Iterator, List, Mapping, Tuple

from machinectl_agent.conversation import Session
from machinectl_agent.engine.applied import owners_changes, remember
from machinectl_agent.engine.daemon_json import CA, CERT
from machinectl_agent.engine.stopped import whose_wish
from machinectl_agent.engine.wishes import with_others
from machinectl_agent.facts import Facts, gather
from machinectl_agent.host import Host
from machinectl_agent.lock import apply_lock
from machinectl_agent.phases.base import Context, Phase, Work
from machinectl_agent.phases.order import PHASES
from machinectl_agent.problems import Problem
from machinectl_agent.provisioners.installed import engine_version
from machinectl_agent.registry.sources import told
from machinectl_agent.runner import Emit, apply, make_plan, plan_event
from machinectl_agent.spec import Spec, SpecError


def survey(emit: Emit, args: Mapping[str, Any], phases: Iterable[Phase] = PHASES) -> Dict[str, Any]:
    """args: spec (spec.py), last (the spec of the last apply, whose plan tells what has been changed on the host
    since; may be missing) → facts, engine_version; events `facts`, `since`, `plan`. Changes nothing."""
    host, facts, spec = _begin(emit, args)
    if args.get("last"):
        last = with_others(host, _read_spec(args["last"]))
        since = make_plan(host, Context(last, facts), phases)
        steps = plan_event(since)["steps"] + owners_changes(host, last.engine, last.network)
        emit({"event": "since", "steps": steps})
    emit(plan_event(make_plan(host, Context(with_others(host, spec), facts), phases)))
    return {"facts": facts.to_json(), "engine_version": engine_version(host)}


def survey_by_daemon(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    """The same, all of it at once: until then an agent of its own may take over."""
    said: List[Mapping[str, Any]] = []
    result = survey(said.append, args, _WhileHeard(session))
    for one in said:
        session.emit(one)
    return result


def converge(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    """args: spec (spec.py), hold (do nothing where dockerd would be interrupted), for (who runs the controller) →
    facts, changed, held, engine_version, stopped (by whose wish dockerd is down; empty: it runs), tls (ca and
    server: the PEM files that dockerd has)."""
    host, facts, spec = _begin(session.emit, args)
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
    return _result(host, facts, changed or 0, held=changed is None)


def converge_by_daemon(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    """As `converge` where there is nothing to do; else `Problem` `agent-wanted`, before a word is said."""
    said: List[Mapping[str, Any]] = []
    host, facts, spec = _begin(said.append, args)
    if spec.engine.upgrade:
        raise Problem("agent-wanted", "packages are looked for")
    with apply_lock(lambda _: None, wait=0.0, who=str(args.get("for", ""))):
        plan = make_plan(host, Context(with_others(host, spec), facts), _WhileHeard(session))
        if any(plan.values()):
            raise Problem("agent-wanted", "there is something to do")
        remember(host)
    result = _result(host, facts, 0, held=False)
    for one in (*said, plan_event(plan)):
        session.emit(one)
    return result


class _WhileHeard:
    """The phases, for as long as somebody listens: an agent of its own has taken over where nobody does."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __iter__(self) -> Iterator[Phase]:
        for phase in PHASES:
            if self._session.gone:
                raise Problem("agent-wanted", "nobody listens any more")
            yield phase


def _begin(emit: Emit, args: Mapping[str, Any]) -> Tuple[Host, Facts, Spec]:
    spec = _read_spec(args["spec"])
    host = Host()
    facts = gather(host)
    emit({"event": "facts", "facts": facts.to_json()})
    if not facts.systemd:
        raise Problem(
            "no-systemd",
            "this host does not run systemd",
            why="machinectl starts and supervises dockerd by systemd",
            hint="use a host with systemd",
        )
    return host, facts, spec


def _read_spec(document: Mapping[str, Any]) -> Spec:
    try:
        return Spec.from_json(document)
    except SpecError as error:
        raise Problem("spec", "the agent does not understand the wanted state", why=str(error)) from error


def _result(host: Host, facts: Facts, changed: int, *, held: bool) -> Dict[str, Any]:
    return {
        "facts": facts.to_json(),
        "changed": changed,
        "held": held,
        "engine_version": engine_version(host),
        "stopped": whose_wish(host),
        "tls": {"ca": host.read(CA) or "", "server": host.read(CERT) or ""},
    }
