"""Classic mode's wish of one machine → what its agent gets, with its client certificate for etcd."""

from __future__ import annotations

from machinectl.model import Machine
from machinectl.store.store import Store
from machinectl_agent.spec import ClusterStoreSpec


def cluster_spec(store: Store, machine: Machine) -> ClusterStoreSpec | None:
    """None where the machine is not in classic mode. Issues or renews its certificate where it must be."""
    wish = machine.engine.get("cluster")
    if not wish:
        return None
    from machinectl.actions.etcd.access import machine_certificate  # noqa: PLC0415 - only in classic mode

    endpoints = tuple(wish["endpoints"])
    plain = all(url.startswith("http://") for url in endpoints)
    ca, cert, key = ("", "", "") if plain else machine_certificate(store, machine.name)
    address = wish.get("advertise") or machine.ip
    advertise = f"[{address}]:{machine.engine_port}" if ":" in address else f"{address}:{machine.engine_port}"
    return ClusterStoreSpec(endpoints, advertise, wish.get("prefix", ""), ca=ca, cert=cert, key=key)
