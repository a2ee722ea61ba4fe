"""network migrate: one of Docker's own overlay networks becomes one of ours, with its name, subnets and addresses.

    look at every machine ─► record ─► disconnect all ─► remove it ─► make ours ─► connect all ─► forget the record

Docker can't rename a network, and no container can be in two networks of the same subnet ("conflicts with existing
route"): so a network moves as a whole, and its containers can't talk over it for the few seconds in between. They
run on, and keep their addresses. From the first change on, Docker no longer knows what was connected: the record in
the store does, and a run that was killed is finished by the next one. Each step looks at what is there.
"""

from __future__ import annotations

import json
import time
import urllib.parse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from machinectl.actions.network.classic_networks import (
    DRIVER,
    Attachment,
    ClassicNetwork,
    attached_to,
    endpoint_names,
    from_json,
    is_classic,
    parse_attachment,
    parse_network,
    render_connect,
    render_create,
    to_json,
)
from machinectl.actions.network.engines import Engines
from machinectl.atomic import write_atomic
from machinectl.errors import EngineRefused, MachinectlError, StoreError
from machinectl.store.store import Store

REPLICATED = 30.0
"""Seconds until every machine has the new network; it is there within one."""


def migrate(
    store: Store,
    name: str,
    machines: Sequence[str],
    *,
    say: Callable[[str], None],
    restart: bool = False,
    dry_run: bool = False,
) -> None:
    """`machines`: all that have containers on it. `restart`: running containers are restarted at the end, as Docker
    gives a container its DNS servers when it starts, ours among them only since the machine joined. Raises
    `MachinectlError`; the next run goes on."""
    engines = Engines(store, machines)
    record = store.path / "migrations" / f"{urllib.parse.quote(name, safe='')}.json"
    with store.lock(f"migration-{urllib.parse.quote(name, safe='')}"):
        if record.exists():
            network, attachments = _read(record)
            say(f"an earlier run was not finished: going on with {len(attachments)} containers")
        else:
            network, attachments = survey(engines, name)
        engines.only({one.machine for one in attachments} | set(machines))
        if dry_run:
            print(render_plan(network, attachments))
            return
        record.parent.mkdir(mode=0o700, exist_ok=True)
        write_atomic(record, (json.dumps(to_json(network, attachments), indent=1) + "\n").encode())
        for one in attachments:
            _disconnect(engines, network, one, say)
        _remove(engines, network, say)
        _create(engines, network, say)
        for one in attachments:
            _connect(engines, network, one, say)
        running = [one for one in attachments if one.running]
        for one in running if restart else ():
            _restart(engines, one, say)
        record.unlink()
    if running and not restart:
        say(
            "containers that were started before their machine joined find names of other machines after a restart"
        )


def survey(engines: Engines, name: str) -> tuple[ClassicNetwork, tuple[Attachment, ...]]:
    """The network and every container on it, stopped ones too; one that was never started knows it by its name only,
    and needs no change. Raises `MachinectlError` before anything has
    changed: where there is no such network, or it has containers on a machine that was not named."""
    found: ClassicNetwork | None = None
    attachments: list[Attachment] = []
    names: set[str] = set()
    for machine in engines.names:
        document = engines.call(machine, "GET", f"/networks/{urllib.parse.quote(name)}")
        if document is None or not is_classic(document):
            continue
        found = parse_network(document)
        names |= endpoint_names(document)
        query = urllib.parse.quote(json.dumps({"network": [found.id]}))
        for one in engines.call(machine, "GET", f"/containers/json?all=1&filters={query}"):
            inspected = engines.call(machine, "GET", f"/containers/{one['Id']}/json")
            # Docker's filter takes names that begin alike as well
            if inspected and attached_to(found.name, inspected) == found.id:
                attachments.append(parse_attachment(machine, found.name, inspected))
    if found is None:
        raise MachinectlError(
            f"no machine has a network {name} of Docker's own overlay driver",
            why=f"asked: {', '.join(engines.names)}",
            hint="`docker network ls --filter driver=overlay` on a machine lists them",
        )
    elsewhere = sorted(names - {one.name for one in attachments})
    if elsewhere:
        raise MachinectlError(
            f"the network {name} has containers on other machines: {', '.join(elsewhere)}",
            hint="name every machine that is in classic mode: `machinectl network migrate NETWORK MACHINE…`",
        )
    return found, tuple(attachments)


def render_plan(network: ClassicNetwork, attachments: Sequence[Attachment]) -> str:
    """What --dry-run prints."""
    subnets = ", ".join(subnet for subnet, *_ in network.subnets)
    lines = [f"{network.name}: {len(attachments)} containers to move"]
    lines += [f"  ~ disconnect {one.name} on {one.machine}" for one in attachments]
    lines.append(f"  - remove the overlay network {network.name}")
    lines.append(f"  + create the {DRIVER} network {network.name} ({subnets})")
    for one in attachments:
        aliases = f", aliases {' '.join(one.aliases)}" if one.aliases else ""
        lines.append(f"  ~ connect {one.name} on {one.machine} as {one.ip or '(next start)'}{aliases}")
    return "\n".join(lines)


def _disconnect(
    engines: Engines, network: ClassicNetwork, one: Attachment, say: Callable[[str], None]
) -> None:
    document = engines.call(one.machine, "GET", f"/containers/{one.container}/json")
    if document is None or attached_to(network.name, document) != network.id:
        return
    # by force: a container that ends at this moment must not hold the network
    body = {"Container": one.container, "Force": True}
    engines.call(one.machine, "POST", f"/networks/{network.id}/disconnect", body)
    say(f"{one.machine}: {one.name} has left the old {network.name}")


def _remove(engines: Engines, network: ClassicNetwork, say: Callable[[str], None]) -> None:
    for machine in engines.names:
        if engines.call(machine, "GET", f"/networks/{network.id}") is None:
            continue
        try:
            engines.call(machine, "DELETE", f"/networks/{network.id}")
        except EngineRefused as error:
            error.hint = "something has joined it since: disconnect that, then run the same command again"
            raise
        say(f"{machine}: the old {network.name} is removed")
        return


def _create(engines: Engines, network: ClassicNetwork, say: Callable[[str], None]) -> None:
    if not any(_ours(engines, machine, network.name) for machine in engines.names):
        first = engines.names[0]
        try:
            engines.call(first, "POST", "/networks/create", render_create(network))
        except EngineRefused as error:
            error.hint = (
                f"`machinectl network join {' '.join(engines.names)}`, then run the same command again"
            )
            raise
        say(f"{first}: the new {network.name} is made")
    waiting = list(engines.names)
    end = time.monotonic() + REPLICATED
    while waiting := [one for one in waiting if not _ours(engines, one, network.name)]:
        if time.monotonic() > end:
            raise MachinectlError(
                f"the new network {network.name} has not come to {', '.join(waiting)} within {REPLICATED:g} s",
                hint=f"`machinectl network join {' '.join(waiting)}`, then run the same command again",
            )
        time.sleep(0.1)


def _connect(engines: Engines, network: ClassicNetwork, one: Attachment, say: Callable[[str], None]) -> None:
    document = engines.call(one.machine, "GET", f"/containers/{one.container}/json")
    if document is None:
        say(f"{one.machine}: {one.name} is gone meanwhile")
        return
    ours = _ours(engines, one.machine, network.name)
    if attached_to(network.name, document) == ours:
        return
    engines.call(one.machine, "POST", f"/networks/{ours}/connect", render_connect(one))
    say(f"{one.machine}: {one.name} is in the new {network.name} as {one.ip or '(next start)'}")


def _restart(engines: Engines, one: Attachment, say: Callable[[str], None]) -> None:
    if engines.call(one.machine, "GET", f"/containers/{one.container}/json") is not None:
        engines.call(one.machine, "POST", f"/containers/{one.container}/restart")
        say(f"{one.machine}: {one.name} is restarted")


def _ours(engines: Engines, machine: str, name: str) -> str:
    """Docker's id there of our network of that name; empty: it is not there."""
    document: dict[str, Any] | None = engines.call(machine, "GET", f"/networks/{urllib.parse.quote(name)}")
    return str(document["Id"]) if document and document.get("Driver") == DRIVER else ""


def _read(record: Path) -> tuple[ClassicNetwork, tuple[Attachment, ...]]:
    try:
        return from_json(json.loads(record.read_bytes()))
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"the record {record} of an earlier migration is damaged", why=str(error)) from error
