"""Classic mode: Docker's own overlay networks, with etcd as dockerd's `cluster-store` (Engine before 23).

dockerd's client (libkv) speaks etcd's v2 API only, and reads its TLS files once, when it starts. Source: Docker
20.10's "dockerd" reference, sections "Daemon cluster store" and `--cluster-advertise`; seen with 20.10.24.
"""

from __future__ import annotations

from typing import Any, Dict, Optional
from urllib.parse import urlsplit

from machinectl_agent.spec import ClusterStoreSpec

FOLDER = "/etc/docker/cluster-store"
CA, CERT, KEY = f"{FOLDER}/ca.pem", f"{FOLDER}/cert.pem", f"{FOLDER}/key.pem"
FILES = (CA, CERT, KEY)
OPTIONS = ("cluster-store", "cluster-advertise", "cluster-store-opts")


def options(wanted: ClusterStoreSpec) -> Dict[str, Any]:
    """Pure: the keys of daemon.json. The scheme is `etcd` with TLS as well: the files say that it is on."""
    hosts = ",".join(urlsplit(url).netloc for url in wanted.endpoints)
    path = f"/{wanted.prefix.strip('/')}" if wanted.prefix.strip("/") else ""
    document: Dict[str, Any] = {
        "cluster-store": f"etcd://{hosts}{path}",
        "cluster-advertise": wanted.advertise,
    }
    if wanted.ca:
        document["cluster-store-opts"] = {"kv.cacertfile": CA, "kv.certfile": CERT, "kv.keyfile": KEY}
    return document


def texts(wanted: Optional[ClusterStoreSpec]) -> Dict[str, str]:
    """Every file's text as it should be; empty: it should not be there."""
    if wanted is None:
        return dict.fromkeys(FILES, "")
    return {CA: wanted.ca, CERT: wanted.cert, KEY: wanted.key}
