"""The verb `etcd`: brings this machine's member to what the controller wants, or restores a snapshot."""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Tuple

from machinectl_agent.etcd import programs, restore
from machinectl_agent.etcd.install import InstallPhase, refresh
from machinectl_agent.etcd.member import MemberPhase
from machinectl_agent.etcd.spec import EtcdSpec
from machinectl_agent.etcd.unit import UNIT_FILE, mark_in, wait_ready
from machinectl_agent.facts import gather
from machinectl_agent.host import Host
from machinectl_agent.lock import apply_lock
from machinectl_agent.phases.base import Context, Phase, Work
from machinectl_agent.problems import Problem
from machinectl_agent.runner import apply, make_plan, plan_event
from machinectl_agent.spec import EngineSpec, Spec, SpecError, TlsSpec

STAGES = ("", "install", "prepare", "swap")
"""`install`: only the programs; `prepare` and `swap`: see restore.py; empty: the whole member."""


def apply_etcd(
    work: Work, args: Mapping[str, Any], emit: Callable[[Mapping[str, Any]], None]
) -> Dict[str, Any]:
    """args: etcd (EtcdSpec), dry_run, stage, for → changed, version. Returns once the member takes part."""
    try:
        wanted = EtcdSpec.from_json(args["etcd"])
    except SpecError as error:
        raise Problem("spec", "the agent does not understand the wanted state", why=str(error)) from error
    stage = str(args.get("stage", ""))
    if stage not in STAGES:
        raise Problem(
            "spec", f"the agent knows no stage {stage!r}", hint="use the same version of machinectl"
        )
    facts = gather(work.host)
    if not facts.systemd:
        raise Problem("no-systemd", "this host does not run systemd", hint="use a host with systemd")
    # the phases have their wish themselves; the runner wants a context
    context = Context(Spec(wanted.name, EngineSpec(), TlsSpec("", "", "")), facts)
    phases: Tuple[Phase, ...] = (InstallPhase(wanted, facts), MemberPhase(wanted, facts))
    if args.get("dry_run"):
        emit(plan_event(make_plan(work.host, context, phases)))
        return {"changed": 0, "version": _version(work.host, wanted)}
    with apply_lock(work.log, wait=float(args.get("lock_wait", 300)), who=str(args.get("for", ""))):
        if wanted.upgrade:
            refresh(work)
        if stage == "swap":
            restore.swap(work, wanted)
        changed = apply(work, context, phases[:1] if stage in ("install", "prepare") else phases, emit)
        if stage == "prepare":
            restore.prepare(work, wanted)
        if not wanted.absent and stage not in ("install", "prepare"):
            wait_ready(work.host, mark_in(work.host.read(UNIT_FILE) or ""))
    return {"changed": changed, "version": _version(work.host, wanted)}


def _version(host: Host, spec: EtcdSpec) -> str:
    return programs.version(host, f"{programs.folder(host, spec.binaries)}/etcd")
