"""How the store's etcd is reached: its endpoints, and certificates for the controller and for the machines."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from machinectl.actions.etcd.reach import way_to
from machinectl.actions.fleet import on_each
from machinectl.errors import MachinectlError
from machinectl.kv.client import Etcd3
from machinectl.pki.authority import ensure_authority
from machinectl.pki.leaves import ensure_client, ensure_machine_client
from machinectl.store.etcd import Etcd, load_etcd
from machinectl.store.paths import resolved_path
from machinectl.store.store import Store
from machinectl_agent.kv.interface import KvError
from machinectl_agent.kv.tls import Tls


def require_etcd(store: Store) -> Etcd:
    """Raises `MachinectlError` where the store knows none."""
    found = load_etcd(store)
    if found is None or not (found.members or found.endpoints):
        raise MachinectlError(
            "there is no etcd yet",
            why="networks keep their state in it",
            hint="`machinectl etcd deploy MACHINE…` (1, 3 or 5 of them), or `machinectl etcd use --endpoints …`",
        )
    return found


def require_own(store: Store) -> Etcd:
    """Raises `MachinectlError` also where somebody else looks after it."""
    found = require_etcd(store)
    if found.endpoints:
        raise foreign()
    return found


def foreign() -> MachinectlError:
    return MachinectlError(
        "this store uses an etcd that is not its own",
        why="it was named by `machinectl etcd use`",
        hint="look after it by its own tools, or `machinectl etcd use --none`",
    )


def endpoints(store: Store) -> list[str]:
    """Client URLs of all members."""
    etcd = require_etcd(store)
    return list(etcd.endpoints) or etcd.client_urls()


def admin(store: Store, only: str = "") -> Etcd3:
    """A client with the controller's certificate; `only`: for this endpoint."""
    etcd = require_etcd(store)
    urls = [only] if only else endpoints(store)
    ways = on_each(urls, lambda url: way_to(store, etcd, url))
    return Etcd3([one.result or one.name for one in ways], tls=controller_tls(store, etcd))


@contextlib.contextmanager
def asking(store: Store, what: str, only: str = "") -> Iterator[Etcd3]:
    """The same for a block; `what` could not be done where etcd says no or does not answer."""
    client = admin(store, only)
    try:
        yield client
    except KvError as error:
        raise MachinectlError(what, why=str(error), hint="`machinectl etcd status`") from error
    finally:
        client.close()


def controller_tls(store: Store, etcd: Etcd) -> Tls | None:
    if etcd.endpoints:
        paths = (resolved_path(one, store.path) for one in (etcd.ca, etcd.cert, etcd.key))
        return Tls(*paths) if etcd.ca else None
    with store.lock():
        authority = ensure_authority(store.certs)
        ensure_client(authority, store.certs)
    return Tls(str(store.certs / "ca.pem"), str(store.certs / "cert.pem"), str(store.certs / "key.pem"))


def machine_certificate(store: Store, name: str) -> tuple[str, str, str]:
    """CA, client certificate and key (PEM texts) by which a machine's agent reaches etcd. Its own for each
    machine; of an etcd that is not ours the certificate that `etcd use` was given."""
    etcd = require_etcd(store)
    if etcd.endpoints:
        return _texts(*(resolved_path(one, store.path) for one in (etcd.ca, etcd.cert, etcd.key)))
    with store.lock():
        authority = ensure_authority(store.certs)
        certificate, key = ensure_machine_client(authority, store.folder(name))
    return _texts(str(store.certs / "ca.pem"), str(certificate), str(key))


def without(etcd: Etcd, name: str) -> Etcd:
    """The record without one member."""
    return dataclasses.replace(
        etcd,
        members={one: address for one, address in etcd.members.items() if one != name},
        incarnations={one: word for one, word in etcd.incarnations.items() if one != name},
        joining="" if etcd.joining == name else etcd.joining,
    )


def _texts(*paths: str) -> tuple[str, str, str]:
    try:
        ca, cert, key = (Path(one).read_text() if one else "" for one in paths)
    except OSError as error:
        raise MachinectlError(
            f"{error.filename} can't be read",
            why=error.strerror or str(error),
            hint="it was named by `machinectl etcd use`: put it back, or name another one",
        ) from error
    return ca, cert, key
