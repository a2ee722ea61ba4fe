"""Which DNS servers containers are given on a member of our networks: ours first, then those that they had before.

Docker hands daemon.json's `dns` to every container, also to those that are in no network of ours, and asks the next
server where one does not answer: so names of the world outside go on when the network service is away.
"""

from __future__ import annotations

import ipaddress
import json
from typing import List, Optional, Sequence, Tuple

from machinectl_agent.host import Host
from machinectl_agent.network.dns.upstreams import FILE, RESOLVED, Upstreams
from machinectl_agent.network.paths import CONFIG, RESOLVER


def host_servers(host: Host) -> Tuple[str, ...]:
    """The host's own DNS servers, without those that only the host itself reaches."""
    found = Upstreams(own=(RESOLVER,), file=str(host.path(FILE)), resolved=str(host.path(RESOLVED)))()
    return tuple(one for one in found if _reachable(one))


def configured_upstreams(host: Host) -> Optional[Tuple[str, ...]]:
    """What the network service on this host was told; None where the host is no member."""
    text = host.read(CONFIG)
    if text is None:
        return None
    try:
        return tuple(str(one) for one in json.loads(text).get("upstreams") or ())
    except (ValueError, AttributeError, TypeError):
        return ()


def with_ours(others: Sequence[str]) -> List[str]:
    """daemon.json's `dns`."""
    return list(dict.fromkeys((RESOLVER, *others)))


def _reachable(address: str) -> bool:
    """From inside a container: not the host's loopback, and no link-local address, which needs an interface."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (found.is_loopback or found.is_link_local)
