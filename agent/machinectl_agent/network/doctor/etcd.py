"""Each endpoint of etcd: answers, how fast, with a majority; and our certificate's end."""

from __future__ import annotations

import datetime
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Iterator, List, Optional

from machinectl_agent.kv.gateway import Gateway
from machinectl_agent.kv.interface import KvError
from machinectl_agent.kv.tls import Tls
from machinectl_agent.network.doctor.case import Case
from machinectl_agent.network.doctor.expiry import not_after
from machinectl_agent.network.doctor.finding import Finding

DEADLINE = 3.0
SLOW = 0.25
"""Seconds for a read that a majority agrees to; etcd's own heartbeat is 0.1."""

READS = 3
"""The fastest of them counts."""

SOON = 14
"""Days before a certificate's end."""


def check_etcd(case: Case) -> Iterator[Finding]:
    settings = case.core.settings
    tls = Tls(settings.ca, settings.cert, settings.key) if settings.ca else None

    def ask(url: str) -> Optional[Finding]:
        kv = Gateway((url,), tls=tls)
        took: List[float] = []
        try:
            # the first one connects, which a container's start does not wait for; and one may be unlucky
            end = time.monotonic() + DEADLINE
            for _ in range(1 + READS):
                began = time.monotonic()
                kv.get(case.core.layout.machine(case.me), deadline=max(end - began, 0.1))
                took.append(time.monotonic() - began)
        except KvError as error:
            if len(took) > 1:
                return slow(url, min(took[1:]))
            return Finding(
                f"etcd {url}",
                "it does not answer",
                str(error),
                "`machinectl etcd status`; is TCP port 2379 open between the machines?",
            )
        finally:
            kv.close()
        return slow(url, min(took[1:]))

    endpoints = case.core.whereabouts.endpoints
    with ThreadPoolExecutor(max(1, len(endpoints))) as pool:
        found: List[Optional[Finding]] = list(pool.map(ask, endpoints))
    yield from (one for one in found if one)
    if case.away:
        yield Finding(
            "etcd",
            "no endpoint answers: traffic goes on, new containers and networks do not",
            case.away,
            "`machinectl etcd status`; without a majority: `machinectl etcd restore`",
        )
    yield from stale(case.core.stale_since())
    if settings.cert:
        with open(settings.cert, encoding="ascii") as stream:
            yield from certificate(settings.cert, not_after(stream.read()), time.time())


def stale(since: float) -> Iterator[Finding]:
    """Pure; seconds since 1970."""
    if since:
        date = datetime.datetime.fromtimestamp(since, datetime.timezone.utc)
        yield Finding(
            "etcd",
            f"what is known of other machines is of {date:%Y-%m-%d %H:%M:%S} UTC",
            "this machine's network service has not heard of etcd since it was started",
            "names and addresses that have changed since are wrong until etcd answers",
        )


def slow(url: str, seconds: float) -> Optional[Finding]:
    """Pure."""
    if seconds < SLOW:
        return None
    return Finding(
        f"etcd {url}",
        f"a read takes {seconds:.2f} s",
        "its disk or the way to it is slow; every start of a container waits for it",
        "give etcd a disk of its own, or members nearer to each other",
    )


def certificate(path: str, ends: float, now: float) -> Iterator[Finding]:
    """Pure; times in seconds since 1970."""
    days = (ends - now) / 86400
    if days < SOON:
        date = datetime.datetime.fromtimestamp(ends, datetime.timezone.utc).date()
        state = "has expired" if days < 0 else "expires soon"
        yield Finding(
            "certificate", f"{path} {state}: {date}", hint="`machinectl network join NAME` issues it again"
        )
