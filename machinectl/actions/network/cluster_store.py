"""Classic mode's wish of one machine → what its agent gets, with a client certificate for etcd."""

from __future__ import annotations

import dataclasses

from machinectl.model import Machine
from machinectl.pki.authority import ensure_authority
from machinectl.pki.leaves import ensure_client
from machinectl.store import files
from machinectl.store.store import Store
from machinectl_agent.spec import ClusterStoreSpec

FOLDER = "cluster-store"
"""In the machine's folder of the store: cert.pem and key.pem, the machine's own."""


def cluster_spec(store: Store, machine: Machine) -> ClusterStoreSpec | None:
    """None where the machine is not in classic mode. Issues or renews its certificate where it must be."""
    wish = machine.engine.get("cluster")
    if not wish:
        return None
    endpoints = tuple(wish["endpoints"])
    address = wish.get("advertise") or machine.ip
    advertise = f"[{address}]:{machine.engine_port}" if ":" in address else f"{address}:{machine.engine_port}"
    plain = ClusterStoreSpec(endpoints, advertise, wish.get("prefix", ""))
    if all(url.startswith("http://") for url in endpoints):
        return plain
    folder = files.private_folder(store.folder(machine.name) / FOLDER)
    with store.lock():
        authority = ensure_authority(store.certs)
        ensure_client(authority, folder)
    return dataclasses.replace(
        plain,
        ca=authority.certificate.decode(),
        cert=(folder / "cert.pem").read_text(),
        key=(folder / "key.pem").read_text(),
    )
