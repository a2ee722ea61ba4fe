"""What a membership is on the disk: the network service's configuration and its certificates for etcd."""

from __future__ import annotations

import dataclasses
import json
from typing import Dict, NamedTuple, Sequence

from machinectl_agent.network.paths import CONFIG, PREFIX
from machinectl_agent.spec import NetworkSpec

FOLDER = "/etc/machinectl/etcd"
"""0700."""

CA, CERT, KEY = f"{FOLDER}/ca.pem", f"{FOLDER}/cert.pem", f"{FOLDER}/key.pem"
CERTIFICATES = (KEY, CERT, CA)
"""The key first: after a crash in between the next run sees that the certificate does not fit."""


def certificates(wanted: NetworkSpec) -> Dict[str, str]:
    """Path → PEM text; empty: there should be no such file."""
    return {KEY: wanted.key, CERT: wanted.cert, CA: wanted.ca}


def mode(name: str) -> int:
    """Permission bits of one of our files."""
    return 0o600 if name in (KEY, CONFIG) else 0o644


def render_config(name: str, wanted: NetworkSpec, upstreams: Sequence[str]) -> str:
    """Pure: network.json, as network/settings.py reads it."""
    tls = {key: path if wanted.ca else "" for key, path in (("ca", CA), ("cert", CERT), ("key", KEY))}
    document = {
        "id": wanted.id,
        "name": name,
        "vtep": wanted.vtep,
        "endpoints": list(wanted.endpoints),
        **tls,
        "prefix": wanted.prefix or PREFIX,
        "pools": list(wanted.pools),
        "pool_size": wanted.pool_size,
        "upstreams": list(upstreams),
    }
    return json.dumps(document, indent=1) + "\n"


class Identity(NamedTuple):
    """Who a network.json says that the host is; empty where there is none or it is torn."""

    id: str = ""
    name: str = ""
    vtep: str = ""


def parse_identity(text: str) -> Identity:
    try:
        document = json.loads(text)
        return Identity(*(str(document.get(key, "")) for key in Identity._fields))
    except (ValueError, AttributeError):
        return Identity()


def identified(wanted: NetworkSpec, name: str, present: str) -> NetworkSpec:
    """With the id that the host has already under this name: its endpoints in etcd are of that id, whatever a store
    that has forgotten the machine meanwhile has minted. A clone of a host is called otherwise and gets its own."""
    there = parse_identity(present)
    return dataclasses.replace(wanted, id=there.id) if there.id and there.name == name else wanted
