"""What daemon.json, the drop-in and dockerd's environment should be on this host, given what is there."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Dict, Mapping, Optional, Tuple

from machinectl_agent.engine import cluster_store, resolvers, unit
from machinectl_agent.engine.merge import Record, merge, own_part, parse_document, render_document
from machinectl_agent.host import Host
from machinectl_agent.network.paths import RESOLVER
from machinectl_agent.spec import EngineSpec, NetworkSpec
from machinectl_agent.templates import render

FILE = "/etc/docker/daemon.json"
RECORD = "/var/lib/machinectl/engine.json"
CA, CERT, KEY = "/etc/docker/ca.pem", "/etc/docker/server.pem", "/etc/docker/server-key.pem"
LISTENING = ("hosts", "tls", "tlsverify", "tlscacert", "tlscert", "tlskey")
"""Never merged with what the host has: an open tcp://0.0.0.0:2375 of earlier days must not survive."""


UNIX_SOCKET = "unix:///var/run/docker.sock"


@dataclass(frozen=True)
class Seen:
    """The three files as they are, and what they are made from."""

    document: Mapping[str, Any]
    text: str
    record: Record
    record_text: str
    command: unit.CommandLine
    environment_flags: unit.CommandLine
    drop_in: str
    environment: str
    socket: bool
    """docker.socket hands dockerd its unix socket (`fd://`)."""
    swarm: bool
    """The engine is a member of a Swarm; live-restore can't be used there (Docker's documentation)."""
    servers: Tuple[str, ...] = ()
    """The host's own DNS servers, as far as containers reach them."""
    upstreams: Optional[Tuple[str, ...]] = None
    """What the network service was told on a member of our networks; None: the host is none."""


@dataclass(frozen=True)
class Wanted:
    """The same files as they should be."""

    document: Mapping[str, Any]
    text: str
    record_text: str
    drop_in: str
    environment: str


def observe(host: Host) -> Seen:
    """Raises `Problem` `daemon-json-invalid` where the host's own file can't be read as JSON."""
    text = host.read(FILE) or ""
    record_text = host.read(RECORD) or ""
    document = parse_document(FILE, text)
    root = str(document.get("data-root", "/var/lib/docker"))
    return Seen(
        document=document,
        text=text,
        record=parse_record(record_text),
        record_text=record_text,
        command=unit.read_command_line(host),
        environment_flags=unit.read_environment_flags(host),
        drop_in=host.read(unit.DROP_IN) or "",
        environment=host.read(unit.ENVIRONMENT) or "",
        socket=unit.has_socket(host),
        swarm=bool((host.read(f"{root}/swarm/docker-state.json") or "").strip()),
        servers=resolvers.host_servers(host),
        upstreams=resolvers.configured_upstreams(host),
    )


def parse_record(text: str) -> Record:
    """A record that is gone or torn counts as empty: what is there is then the host's own."""
    try:
        document = json.loads(text)
        return Record(dict(document["ours"]), dict(document["displaced"]), dict(document.get("wishes", {})))
    except (ValueError, KeyError, TypeError):
        return Record()


def both_records(before: str, after: str) -> str:
    """Pure: a record that holds for daemon.json as it was and as it will be."""
    old, new = parse_record(before), parse_record(after)
    both = Record(_both(old.ours, new.ours), _both(old.displaced, new.displaced), new.wishes)
    if both == old:
        return before
    return after if both == new else render_record(both)


def render_record(record: Record) -> str:
    return json.dumps(asdict(record), indent=1, sort_keys=True) + "\n"


def _both(old: Mapping[str, Any], new: Mapping[str, Any]) -> Dict[str, Any]:
    found = {**old, **new}
    for key in set(old) & set(new):
        if isinstance(old[key], list) and isinstance(new[key], list):
            found[key] = [*new[key], *(one for one in old[key] if one not in new[key])]
        elif isinstance(old[key], dict) and isinstance(new[key], dict):
            found[key] = {**old[key], **new[key]}
    return found


def wanted(
    seen: Seen,
    engine: EngineSpec,
    network: Optional[NetworkSpec] = None,
    wishes: Optional[Mapping[str, Any]] = None,
) -> Wanted:
    """Pure. Flags of the unit that collide with a key of daemon.json move there with their values. `wishes`: what
    every controller asked for; None or empty: as the record has it."""
    wish = {**_ours(seen, engine), **engine.options}
    if not network.absent if network else seen.upstreams is not None:
        wish["dns"] = resolvers.with_ours(upstreams(seen, engine, network) or seen.servers)
    keys = {*wish, *seen.document}
    command = unit.fold(seen.command, seen.environment_flags, tuple(keys))
    now = {key: value for key, value in {**command.flags, **seen.document}.items() if key in keys}
    document, record = merge({key: now[key] for key in now if key not in LISTENING}, seen.record, wish)
    # the order of the keys stays as it is on the host: a diff shows what changes and nothing else
    document = {key: document[key] for key in [*seen.document, *document] if key in document}
    text = seen.text if document == seen.document else render_document(document)
    record = replace(record, wishes=wishes or seen.record.wishes)
    record_text = render_record(record)
    return Wanted(
        document=document,
        text=text,
        record_text=seen.record_text if record == seen.record and seen.record_text else record_text,
        drop_in=render(
            "docker-drop-in.conf",
            exec_start=unit.exec_start(command, [*document, *LISTENING]),
            environment_file=unit.ENVIRONMENT,
        ),
        environment=render_environment(engine.env),
    )


def upstreams(seen: Seen, engine: EngineSpec, network: Optional[NetworkSpec]) -> Tuple[str, ...]:
    """Pure: the DNS servers that somebody has chosen for containers, ours left out; empty: the host's own."""
    chosen = network.upstreams if network else seen.upstreams
    if not chosen:
        flags = unit.fold(seen.command, seen.environment_flags, ("dns",)).flags
        own = own_part("dns", {**flags, **seen.document}, seen.record)
        chosen = engine.options.get("dns") or own or ()
    return tuple(str(one) for one in chosen if one != RESOLVER)


def _ours(seen: Seen, engine: EngineSpec) -> Dict[str, Any]:
    wish: Dict[str, Any] = {
        "hosts": ["fd://" if seen.socket else UNIX_SOCKET, f"tcp://{engine.listen}:{engine.port}"],
        "tlsverify": True,
        "tlscacert": CA,
        "tlscert": CERT,
        "tlskey": KEY,
    }
    if not seen.swarm:
        wish["live-restore"] = True
    if engine.cluster:
        wish.update(cluster_store.options(engine.cluster))
    return wish


def render_environment(env: Mapping[str, str]) -> str:
    """systemd.exec(5), EnvironmentFile=: double quotes, backslash, quote, dollar and backtick escaped."""
    lines = []
    for name in sorted(env):
        value = "".join("\\" + one if one in '\\"$`' else one for one in env[name])
        lines.append(f'{name}="{value}"\n')
    return "".join(lines)
