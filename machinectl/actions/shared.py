"""Machines that several stores work with: what this one knows of the others, and learns from the host.

known (store) ─► agent: is it so? ─► no (`tls-shared`): look at the host's files ─► learn ─► once more
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from machinectl.actions.once import Once
from machinectl.errors import AgentFailed, RemoteFailed
from machinectl.model import Machine
from machinectl.pki.foreign import authority_folder
from machinectl.pki.pem_files import read_pem
from machinectl.pki.shared import Shared, read_shared, remember, seen, served_problem
from machinectl.remote.connection import Connection
from machinectl.store.store import Store
from machinectl_agent.spec import TlsSpec

Result = TypeVar("Result")

CA, SERVER = "/etc/docker/ca.pem", "/etc/docker/server.pem"
"""Where docker-machine put them, and we do."""

LOOK_DEADLINE = 20.0
"""Seconds for reading two small files."""

_BETWEEN = b"== server ==\n"


def own_authority(store: Store, name: str) -> bytes:
    """The CA that the machine's certificates in this store are made by; empty where there is none yet."""
    return read_pem(authority_folder(store.path / "certs", store.path / "machines" / name) / "ca.pem")


def names_needed(machine: Machine) -> tuple[str, ...]:
    """What our clients go by; a machine's name in another store is that store's own affair."""
    return (machine.ip, *machine.tls_san)


def for_host(
    store: Store, machine: Machine, tls: TlsSpec, once: Once | None, known: Shared | None
) -> TlsSpec:
    """With what is known of the other stores; `known`: seen just now, None: what is remembered."""
    known = known or read_shared(store.path / "machines" / machine.name, tls.ca.encode())
    removed = once.removed if once else ()
    known = _without(known, removed)
    now = datetime.datetime.now(datetime.timezone.utc)
    ours = bool(once and once.own_certificate) or bool(served_problem(known, names_needed(machine), now))
    return dataclasses.replace(
        tls,
        others=tuple(one.decode() for one in known.others),
        removed=removed,
        served=known.served.decode(),
        keep=not ours,
    )


def knowing_others(
    connection: Connection,
    store: Store,
    machine: Machine,
    attempt: Callable[[Shared | None], Result],
    once: Once | None,
    *,
    keep: bool = True,
) -> Result:
    """`attempt`; where the agent says that the host has others than we know, after a look at it once more.
    `keep`: remember what was seen."""
    removed = once.removed if once else ()
    known = look(connection, store, machine, keep=keep) if once and once.share else None
    try:
        return attempt(known)
    except AgentFailed as error:
        if error.problem != "tls-shared":
            raise
    return attempt(look(connection, store, machine, keep=keep, removed=removed))


def look(
    connection: Connection, store: Store, machine: Machine, *, keep: bool, removed: Sequence[str] = ()
) -> Shared:
    """The host's two files, without the CAs (PEM) that are about to be taken out. Raises `RemoteFailed`."""
    ca, server = read_files(connection)
    own = own_authority(store, machine.name)
    known = _without(seen(store.path / "machines" / machine.name, own, ca, server), removed)
    if keep and own:
        remember(store.folder(machine.name), own, known)
    return known


def read_files(connection: Connection) -> tuple[bytes, bytes]:
    """The host's CAs and its server certificate; empty where there are none. Raises `RemoteFailed`."""
    command = f"cat {CA} 2>/dev/null; printf '\\n== server ==\\n'; cat {SERVER} 2>/dev/null; :"
    done = connection.run(command, deadline=LOOK_DEADLINE)
    ca, between, server = done.stdout.partition(_BETWEEN)
    if not between:
        raise RemoteFailed(
            f"{CA} can't be read on the host", why=done.stderr.decode(errors="replace")[-300:] or "no answer"
        )
    return ca, server


def remember_host(store: Store, machine: Machine, files: Mapping[str, str]) -> bool:
    """`files`: ca and server, as the agent says that the host has them now. Whether other stores are trusted."""
    own = own_authority(store, machine.name)
    if not own or not files["ca"].strip():
        return False
    folder = store.folder(machine.name)
    known = seen(folder, own, files["ca"].encode(), files["server"].encode())
    remember(folder, own, known)
    return bool(known.others)


def forget(store: Store, machine: Machine, once: Once | None, *, take_over: bool) -> None:
    """Before other stores are taken off the host: what is issued for it from now on is without their names."""
    removed = once.removed if once else ()
    if not take_over and not removed:
        return
    own, folder = own_authority(store, machine.name), store.folder(machine.name)
    known = read_shared(folder, own)
    left = Shared() if take_over else _without(known, removed)
    if own and left != known:
        remember(folder, own, left)


def _without(known: Shared, removed: Sequence[str]) -> Shared:
    others = tuple(one for one in known.others if one.decode() not in removed)
    return Shared(others, known.served)
