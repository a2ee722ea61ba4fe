"""What several controllers want of one engine, put together: none takes back what another has asked for.

Every controller's own wishes are remembered beside what we did to daemon.json. Lists and maps are united, in an
order that does not depend on who asks: else two controllers that provision in turn would take turns with the file.
Where two want different values for the same thing, the one that asks has its way.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any, Dict, List, Mapping

from machinectl_agent.engine import daemon_json
from machinectl_agent.engine.options import collect, entry_name
from machinectl_agent.host import Host
from machinectl_agent.problems import Problem
from machinectl_agent.spec import EngineSpec, Spec

Wishes = Mapping[str, Any]


def with_others(host: Host, spec: Spec) -> Spec:
    """The wanted state with the other controllers' wishes for the engine. Raises `Problem` `port-shared`."""
    if not spec.controller:
        return spec
    known = daemon_json.parse_record(host.read(daemon_json.RECORD) or "").wishes
    return put_together(spec, known)


def put_together(spec: Spec, known: Mapping[str, Wishes]) -> Spec:
    """Pure. `known`: controller → what it has asked for."""
    gone = {identity(one) for one in spec.tls.removed}
    others = {
        name: one
        for name, one in known.items()
        if name != spec.controller and name not in gone and not spec.take_over
    }
    own = own_wishes(spec.engine)
    wishes = {**others, spec.controller: own}
    engine = spec.engine
    for one in others.values():
        if one.get("port", engine.port) != engine.port:
            raise Problem(
                "port-shared",
                f"this host's engine listens on port {one['port']} for another store's clients",
                why=f"this one wants {engine.port}, and would lock them out",
                hint=f"--engine-port {one['port']}, or --take-over",
            )
    ordered = [wishes[name] for name in sorted(wishes)]
    engine = dataclasses.replace(
        engine,
        options=_options([one.get("options", {}) for one in ordered], own["options"]),
        env={key: value for one in (*ordered, own) for key, value in one.get("env", {}).items()},
        version=own["version"] or next((one["version"] for one in ordered if one.get("version")), ""),
        listen="[::]" if any(one.get("listen") == "[::]" for one in ordered) else engine.listen,
    )
    return dataclasses.replace(spec, engine=engine, wishes=wishes)


def own_wishes(engine: EngineSpec) -> Dict[str, Any]:
    """What one controller asks for, as it is remembered."""
    return {
        "options": dict(engine.options),
        "env": dict(engine.env),
        "version": engine.version,
        "port": engine.port,
        "listen": engine.listen,
    }


def identity(pem: str) -> str:
    """A controller's id: by its CA (machinectl/actions/wishes.py)."""
    return hashlib.sha256(pem.encode()).hexdigest()[:16]


def _options(all_of_them: List[Wishes], own: Wishes) -> Dict[str, Any]:
    document = collect(pair for one in all_of_them for pair in one.items())
    for key, value in own.items():
        before = document[key]
        if isinstance(value, list) and isinstance(before, list):
            mine = {entry_name(key, one): one for one in value}
            # by their names: entries of default-address-pools are mappings
            merged = {entry_name(key, one): mine.get(entry_name(key, one), one) for one in before}
            document[key] = list(merged.values())
        elif isinstance(value, dict) and isinstance(before, dict):
            document[key] = {**before, **value}
        else:
            document[key] = value
    return document
