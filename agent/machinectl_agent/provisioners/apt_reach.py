"""Do the servers of apt's sources answer at all?

apt tries every file of every source with a time limit each; with a name server that is silent that takes two
minutes. One connection to each host, all at once, tells the same in seconds. Only when none answers is that
an error: a single source may be somebody else's and not matter.
"""

from __future__ import annotations

import re
import urllib.parse
from typing import Set

from machinectl_agent.host import Host
from machinectl_agent.problems import Problem
from machinectl_agent.provisioners.reach import PORTS, Address, knock, reasons


def check_sources(host: Host) -> None:
    """Raises `Problem` `packages-unavailable` where no source answers. Says nothing about sources that are no
    http(s) or behind a proxy: apt itself knows better."""
    shown = host.run("apt-get", "update", "--print-uris", deadline=30).stdout
    addresses = parse_uris(shown)
    if not addresses or _proxied(host):
        return
    trouble = knock(addresses)
    if trouble is None:
        return
    raise Problem(
        "packages-unavailable",
        "no package source of this host answers",
        why=reasons(trouble),
        hint="check the host's network, name servers, proxy and /etc/apt/sources.list; without a network use"
        " --engine-package FILE",
    )


def parse_uris(text: str) -> Set[Address]:
    """`apt-get update --print-uris` → host and port of each; empty where one is fetched in another way."""
    found = set()
    for uri in re.findall(r"^'([^']+)'", text, re.MULTILINE):
        parts = urllib.parse.urlsplit(uri)
        if parts.scheme not in PORTS or not parts.hostname:
            return set()
        found.add((parts.hostname, parts.port or PORTS[parts.scheme]))
    return found


def _proxied(host: Host) -> bool:
    dump = host.run("apt-config", "dump", deadline=20).stdout
    if re.search(
        r'^Acquire::https?::(Proxy|ProxyAutoDetect|Proxy-Auto-Detect)\S* "[^"]+"',
        dump,
        re.MULTILINE | re.IGNORECASE,
    ):
        return True
    environment = host.run("env", deadline=10).stdout
    return bool(re.search(r"^https?_proxy=.", environment, re.MULTILINE | re.IGNORECASE))
