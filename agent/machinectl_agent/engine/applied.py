"""daemon.json as the last apply left it: with it a drift can tell what the host's owner has changed by hand since."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Mapping, Optional

from machinectl_agent.engine import daemon_json
from machinectl_agent.host import Host
from machinectl_agent.phases.base import text_diff
from machinectl_agent.redact import redact_text
from machinectl_agent.spec import EngineSpec, NetworkSpec

FILE = "/var/lib/machinectl/daemon.json.applied"


def remember(host: Host) -> None:
    """To be called when an apply has succeeded."""
    text = host.read(daemon_json.FILE) or ""
    if text != host.read(FILE):
        host.write(FILE, text, 0o600)


def owners_changes(host: Host, engine: EngineSpec, network: Optional[NetworkSpec]) -> List[Dict[str, Any]]:
    """In the form of a step's JSON: what differs from the last apply although it is nothing of ours. Empty where
    nothing does, or where no apply is remembered."""
    before = host.read(FILE)
    if before is None:
        return []
    # with our own keys as they should be, what is left is the owner's
    now = daemon_json.wanted(daemon_json.observe(host), engine, network).document
    then = _document(before)
    changed = sorted(key for key in {*now, *then} if now.get(key) != then.get(key))
    if not changed:
        return []
    return [
        {
            "id": "engine-config/owner",
            "title": f"~ {daemon_json.FILE}: the host's owner has changed {', '.join(changed)}",
            "diff": text_diff(daemon_json.FILE, _shown(then, changed), _shown(now, changed)),
            "owner": True,
        }
    ]


def _document(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _shown(document: Mapping[str, Any], keys: List[str]) -> str:
    part = {key: document[key] for key in keys if key in document}
    return redact_text(json.dumps(part, indent=4, ensure_ascii=False))
