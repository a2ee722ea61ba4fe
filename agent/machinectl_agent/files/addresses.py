"""This host's own addresses, for a peer to dial. No netlink, no child process."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import List

_TRIE = Path("/proc/net/fib_trie")
_IF_INET6 = Path("/proc/net/if_inet6")

MOST = 24
"""A host with a thousand addresses is dialled at the first ones."""


def own_addresses() -> List[str]:
    """Neither loopback nor link-local ones: those mean another host elsewhere, or need a link's name."""
    found = [*ipv4_addresses(_read(_TRIE)), *ipv6_addresses(_read(_IF_INET6))]
    useful = [one for one in dict.fromkeys(found) if _useful(one)]
    return useful[:MOST]


def ipv4_addresses(trie: str) -> List[str]:
    """Pure: /proc/net/fib_trie; `|-- ADDRESS` is headed by `/32 host LOCAL` in the line after it."""
    found = []
    address = ""
    for line in trie.splitlines():
        text = line.strip()
        if text.startswith("|-- "):
            address = text[4:]
        elif text == "/32 host LOCAL" and address:
            found.append(address)
    return found


def ipv6_addresses(table: str) -> List[str]:
    """Pure: /proc/net/if_inet6; 32 hexadecimal digits come first."""
    return [str(ipaddress.IPv6Address(int(line.split()[0], 16))) for line in table.splitlines() if line]


def _useful(text: str) -> bool:
    address = ipaddress.ip_address(text)
    return not (address.is_loopback or address.is_link_local or address.is_unspecified)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
