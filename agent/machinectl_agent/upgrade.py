"""The verb `upgrade`: the daemon of this very bundle replaces the one that runs, and a member's network service;
nothing else is touched."""

from __future__ import annotations

from typing import Any, Dict, Mapping

from machinectl_agent.bundle import own_hash
from machinectl_agent.facts import gather
from machinectl_agent.host import Host
from machinectl_agent.lock import apply_lock
from machinectl_agent.phases.agent import AgentPhase, running_bundle
from machinectl_agent.phases.base import Context, Work
from machinectl_agent.phases.network import NetworkPhase
from machinectl_agent.problems import Problem
from machinectl_agent.runner import Emit, apply
from machinectl_agent.spec import EngineSpec, Spec, TlsSpec


def upgrade(work: Work, args: Mapping[str, Any], emit: Emit) -> Dict[str, Any]:
    """args: for (who runs the controller) → from and to (bundle hashes; from is `-` where no daemon ran),
    changed (steps). Raises `Problem`."""
    facts = gather(Host())
    if not facts.systemd:
        raise Problem("no-systemd", "this host does not run systemd", hint="use a host with systemd")
    before = running_bundle()
    nothing_wanted = Spec("", EngineSpec(), TlsSpec("", "", ""))  # the phases ask nothing of it
    with apply_lock(work.log, who=str(args.get("for", ""))):
        changed = apply(work, Context(nothing_wanted, facts), (AgentPhase(), NetworkPhase()), emit)
    return {"from": before, "to": own_hash(), "changed": changed}
