"""The verb `etcd`: brings this machine's member to what the controller wants, or restores a snapshot."""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping

from machinectl_agent.etcd.install import InstallPhase, version
from machinectl_agent.etcd.member import MemberPhase
from machinectl_agent.etcd.restore import restore
from machinectl_agent.etcd.spec import EtcdSpec
from machinectl_agent.facts import gather
from machinectl_agent.lock import apply_lock
from machinectl_agent.phases.base import Context, Work
from machinectl_agent.problems import Problem
from machinectl_agent.runner import apply, make_plan, plan_event
from machinectl_agent.spec import EngineSpec, Spec, SpecError, TlsSpec


def apply_etcd(
    work: Work, args: Mapping[str, Any], emit: Callable[[Mapping[str, Any]], None]
) -> Dict[str, Any]:
    """args: etcd (EtcdSpec), dry_run, restore (path of a snapshot on this host), for → changed, version."""
    try:
        wanted = EtcdSpec.from_json(args["etcd"])
    except SpecError as error:
        raise Problem("spec", "the agent does not understand the wanted state", why=str(error)) from error
    facts = gather(work.host)
    if not facts.systemd:
        raise Problem("no-systemd", "this host does not run systemd", hint="use a host with systemd")
    # the phases have their wish themselves; the runner wants a context
    context = Context(Spec(wanted.name, EngineSpec(), TlsSpec("", "", "")), facts)
    phases = (InstallPhase(wanted, facts), MemberPhase(wanted, facts))
    if args.get("dry_run"):
        emit(plan_event(make_plan(work.host, context, phases)))
        return {"changed": 0, "version": version(work.host)}
    with apply_lock(work.log, wait=float(args.get("lock_wait", 300)), who=str(args.get("for", ""))):
        if args.get("restore"):
            restore(work, wanted, str(args["restore"]))
        changed = apply(work, context, phases, emit)
    return {"changed": changed, "version": version(work.host)}
