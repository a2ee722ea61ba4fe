"""Asks an etcd whether it speaks the v2 API, with the certificates that dockerd is going to show.

etcd 3.4 and 3.5 have it only when started with --enable-v2, 3.6 no longer; without it dockerd would start, and
every `docker network create -d overlay` would fail with a word about its datastore.
"""

from __future__ import annotations

import http.client
import os
import ssl
from typing import Optional
from urllib.parse import urlsplit

from machinectl_agent.problems import Problem
from machinectl_agent.spec import ClusterStoreSpec

DEADLINE = 5.0
"""Seconds for each endpoint."""


def check(wanted: ClusterStoreSpec) -> None:
    """One endpoint that speaks it is enough. Raises `Problem`: `etcd-unreachable`, or `etcd-no-v2`."""
    context = _context(wanted) if wanted.ca else None
    silent = []
    for url in wanted.endpoints:
        try:
            status = _status(url, context)
        except (OSError, http.client.HTTPException) as error:
            silent.append(f"{url}: {error}")
            continue
        if status == 200:
            return
        raise Problem(
            "etcd-no-v2",
            f"the etcd at {url} has no v2 API, which Docker's own overlay needs",
            why=f"/v2/members gives HTTP status {status}",
            hint="`machinectl etcd deploy --v2` turns it on; `machinectl network join` without --driver needs no v2",
        )
    raise Problem(
        "etcd-unreachable",
        "no etcd answers this host",
        why="; ".join(silent) or "there is no endpoint",
        hint="`machinectl etcd status`; is TCP port 2379 open between the machines?",
    )


def _status(url: str, context: Optional[ssl.SSLContext]) -> int:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 2379
    connection = (
        http.client.HTTPSConnection(host, port, timeout=DEADLINE, context=context)
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, port, timeout=DEADLINE)
    )
    try:
        connection.request("GET", "/v2/members")
        return connection.getresponse().status
    finally:
        connection.close()


def _context(wanted: ClusterStoreSpec) -> ssl.SSLContext:
    """The ssl module takes a client's certificate from a file only: one that is in memory, so that a plan leaves
    nothing on the disk."""
    context = ssl.create_default_context(cadata=wanted.ca)
    handle = os.memfd_create("machinectl-cluster-store", os.MFD_CLOEXEC)
    try:
        os.write(handle, f"{wanted.cert}\n{wanted.key}\n".encode())
        context.load_cert_chain(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)
    return context
