"""How the store's etcd is reached: its endpoints, and certificates for the controller and for the machines."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from machinectl.errors import MachinectlError
from machinectl.kv.client import Etcd3
from machinectl.pki.authority import ensure_authority
from machinectl.pki.leaves import ensure_client, ensure_machine_client
from machinectl.store.etcd import Etcd, load_etcd
from machinectl.store.store import Store
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


def endpoints(store: Store) -> list[str]:
    """Client URLs of all members."""
    etcd = require_etcd(store)
    return list(etcd.endpoints) or [etcd.client_url(name) for name in etcd.members]


def admin(store: Store, only: str = "") -> Etcd3:
    """A client with the controller's certificate; `only`: for this endpoint."""
    etcd = require_etcd(store)
    return Etcd3([only] if only else endpoints(store), tls=controller_tls(store, etcd))


def controller_tls(store: Store, etcd: Etcd) -> Tls | None:
    if etcd.endpoints:
        return Tls(etcd.ca, etcd.cert, etcd.key) if etcd.ca else None
    with store.lock():
        authority = ensure_authority(store.certs)
        ensure_client(authority, store.certs)
    return Tls(str(store.certs / "ca.pem"), str(store.certs / "cert.pem"), str(store.certs / "key.pem"))


def machine_certificate(store: Store, name: str) -> tuple[str, str, str]:
    """CA, client certificate and key (PEM texts) by which a machine's agent reaches etcd. Its own for each
    machine; of an etcd that is not ours the certificate that `etcd use` was given."""
    etcd = require_etcd(store)
    if etcd.endpoints:
        return _texts(etcd.ca, etcd.cert, etcd.key)
    with store.lock():
        authority = ensure_authority(store.certs)
        certificate, key = ensure_machine_client(authority, store.folder(name))
    return _texts(str(store.certs / "ca.pem"), str(certificate), str(key))


def without(etcd: Etcd, name: str) -> Etcd:
    """The record without one member."""
    return dataclasses.replace(etcd, members={one: url for one, url in etcd.members.items() if one != name})


def _texts(*paths: str) -> tuple[str, str, str]:
    ca, cert, key = (Path(one).read_text() if one else "" for one in paths)
    return ca, cert, key
