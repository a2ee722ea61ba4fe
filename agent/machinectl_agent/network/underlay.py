"""The machine's own address on the underlay, and the MTU of the link that has it. No netlink, no child process."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from typing import Dict, List, Sequence
from urllib.parse import urlsplit

VXLAN_IPV4 = 50
"""Bytes: outer IPv4 20, UDP 8, VXLAN 8, inner Ethernet 14 (RFC 7348, section 5)."""
VXLAN_IPV6 = 70
DEFAULT_MTU = 1500

_SIOCGIFCONF = 0x8912  # include/uapi/linux/sockios.h
_IFREQ = 40
"""sizeof(struct ifreq) on 64-bit Linux."""


def is_here(address: str) -> bool:
    """Whether this host has the address. Binding a socket would not tell: net.ipv4.ip_nonlocal_bind allows any."""
    if not _is_address(address):
        return False
    links = _ipv6_links() if ":" in address else _ipv4_links()
    return str(ipaddress.ip_address(address)) in links


def address_towards(endpoints: Sequence[str]) -> str:
    """The address that packets to the first reachable of these URLs are sent from; empty where no route
    leads there. Nothing is sent: connecting a UDP socket only looks the route up."""
    for url in endpoints:
        host = urlsplit(url).hostname or ""
        try:
            family, kind, _, _, target = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
            with socket.socket(family, kind) as one:
                one.connect(target)
                found = str(one.getsockname()[0])
        except OSError:
            continue
        if not ipaddress.ip_address(found).is_loopback:
            return found
    return ""


def vtep_address(wanted: str, endpoints: Sequence[str]) -> str:
    """The configured address while the host has it, or the configured link's; else the one that leads to etcd: a
    host that came back with another address goes on with that."""
    of_link = link_address(wanted)
    if of_link or not wanted:
        return of_link or address_towards(endpoints)
    if is_here(wanted):
        return wanted
    return address_towards(endpoints) or (wanted if _is_address(wanted) else "")


def link_address(link: str) -> str:
    """The first address of a link, IPv4 before IPv6; empty where there is no such link or it has none."""
    if not link or _is_address(link):
        return ""
    found = [*_ipv4_links().items(), *_ipv6_links().items()]
    usable = (address for address, name in found if name == link)
    return next((one for one in usable if not ipaddress.ip_address(one).is_link_local), "")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def link_mtu(address: str) -> int:
    """MTU in bytes of the link that has the address; 1500 where it can't be told."""
    name = (_ipv6_links() if ":" in address else _ipv4_links()).get(str(ipaddress.ip_address(address)))
    try:
        with open(f"/sys/class/net/{name}/mtu", encoding="ascii") as stream:
            return int(stream.read())
    except (OSError, ValueError):
        return DEFAULT_MTU


def container_mtu(wanted: int, address: str) -> int:
    """Of a container's interface: as the network says it, or what the underlay leaves after VXLAN's headers."""
    return wanted or link_mtu(address) - (VXLAN_IPV6 if ":" in address else VXLAN_IPV4)


def _ipv4_links() -> Dict[str, str]:
    """Address → link name, all of them (netdevice(7), SIOCGIFCONF)."""
    space = bytearray(_IFREQ * 1024)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        buffer = (memoryview(space), len(space))
        address = _address_of(buffer[0])
        answer = fcntl.ioctl(one.fileno(), _SIOCGIFCONF, struct.pack("iL", len(space), address))
        used = struct.unpack("iL", answer)[0]
    found = {}
    for start in range(0, used, _IFREQ):
        name = bytes(space[start : start + 16]).rstrip(b"\0").decode().partition(":")[0]
        found[socket.inet_ntoa(bytes(space[start + 20 : start + 24]))] = name
    return found


def _address_of(space: memoryview) -> int:
    import ctypes  # noqa: PLC0415 - only here: the ioctl wants a pointer

    return ctypes.addressof(ctypes.c_char.from_buffer(space))


def _ipv6_links() -> Dict[str, str]:
    """The same from /proc/net/if_inet6: address, index, prefix length, scope, flags, name."""
    found = {}
    try:
        with open("/proc/net/if_inet6", encoding="ascii") as stream:
            for line in stream:
                digits, *_, name = line.split()
                found[str(ipaddress.IPv6Address(bytes.fromhex(digits)))] = name
    except OSError:
        pass
    return found


def routed_subnets() -> List[str]:
    """CIDRs that this host routes by itself (IPv4), without the default route: no network of ours may cover them."""
    found = []
    try:
        with open("/proc/net/route", encoding="ascii") as stream:
            next(stream, "")
            for line in stream:
                fields = line.split()
                # little-endian hexadecimal numbers: net/ipv4/fib_trie.c, fib_route_seq_show
                target, mask = (struct.pack("<I", int(fields[one], 16)) for one in (1, 7))
                if any(mask):
                    found.append(f"{socket.inet_ntoa(target)}/{socket.inet_ntoa(mask)}")
    except (OSError, ValueError, IndexError):
        pass
    return [str(ipaddress.ip_network(one)) for one in found]
