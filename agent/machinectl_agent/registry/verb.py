"""The verb `registry`: `op` says which of these is meant."""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Tuple

from machinectl_agent.facts import gather
from machinectl_agent.lock import apply_lock
from machinectl_agent.phases.base import Context, Phase, Work
from machinectl_agent.problems import Problem
from machinectl_agent.registry.collect import collect
from machinectl_agent.registry.install import InstallPhase, way
from machinectl_agent.registry.instance import InstancePhase
from machinectl_agent.registry.probe import Target, check, login_problem, probe
from machinectl_agent.registry.ready import wait_ready
from machinectl_agent.registry.spec import RegistrySpec
from machinectl_agent.runner import apply, make_plan, plan_event
from machinectl_agent.spec import EngineSpec, Spec, SpecError, TlsSpec

Emit = Callable[[Mapping[str, Any]], None]


def registry(work: Work, args: Mapping[str, Any], emit: Emit) -> Dict[str, Any]:
    """args: op (see `OPS`) and what it takes."""
    op = OPS.get(str(args.get("op")))
    if op is None:
        raise Problem(
            "spec",
            f"the agent knows no registry {args.get('op')!r}",
            hint="use the same version of machinectl",
        )
    return op(work, args, emit)


def _deploy(work: Work, args: Mapping[str, Any], emit: Emit) -> Dict[str, Any]:
    """args: registry (RegistrySpec), dry_run, for → changed, via, storage. Returns once it answers."""
    try:
        spec = RegistrySpec.from_json(args["registry"])
    except SpecError as error:
        raise Problem("spec", "the agent does not understand the wanted state", why=str(error)) from error
    facts = gather(work.host)
    if not facts.systemd:
        raise Problem("no-systemd", "this host does not run systemd", hint="use a host with systemd")
    # the phases have their wish themselves; the runner wants a context
    context = Context(Spec("registry", EngineSpec(), TlsSpec("", "", "")), facts)
    phases: Tuple[Phase, ...] = (InstallPhase(spec, facts), InstancePhase(spec))
    if args.get("dry_run"):
        emit(plan_event(make_plan(work.host, context, phases)))
        return {"changed": 0, "via": way(work.host, spec).via, "storage": spec.place}
    with apply_lock(work.log, wait=float(args.get("lock_wait", 300)), who=str(args.get("for", ""))):
        if spec.upstream and any(make_plan(work.host, context, phases).values()):
            _check_upstream(spec)
        changed = apply(work, context, phases, emit)
        if not spec.absent:
            wait_ready(work.host, spec.port, tls=bool(spec.cert))
    return {"changed": changed, "via": way(work.host, spec).via, "storage": spec.place}


def _check_upstream(spec: RegistrySpec) -> None:
    """Raises `Problem` before anything changes: a wrong URL would be noticed much later."""
    cas = (spec.ca,) if spec.ca else ()
    target = Target("upstream", spec.upstream, (spec.upstream.rstrip("/"),), cas=cas)
    why = probe([target], {})[0][1]
    if not why and spec.upstream_user:
        why = login_problem(target, spec.upstream_user, spec.upstream_password)
    if why:
        raise Problem(
            "registry-upstream",
            f"{spec.upstream}, which is to be mirrored, is of no use to this machine",
            why=why,
            hint="look at the URL and the login, and whether the machine reaches it",
        )


OPS: Dict[str, Callable[[Work, Mapping[str, Any], Emit], Dict[str, Any]]] = {
    "deploy": _deploy,
    "gc": collect,
    "check": check,
}
