"""The lab's bridge, NAT and kernel settings; by netlink and one nftables table that is all ours."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from machinectl.errors import LabError
from machinectl.lab.settings import Settings
from machinectl.lab.tools import PATH, call

FORWARD = Path("/proc/sys/net/ipv4/ip_forward")

ALIAS = "machinectl lab "
"""Begins the alias of every lab's bridge; the lab's state folder follows."""

LIMITS = (
    ("fs/inotify/max_user_instances", 8192),
    ("fs/inotify/max_user_watches", 1048576),
    ("kernel/keys/maxkeys", 20000),
    ("kernel/keys/maxbytes", 2000000),
)
"""Raised, never lowered, and left so: twenty systemds and dockerds share the kernel's limits for root."""


def check_free(settings: Settings) -> None:
    """Changes nothing. Raises `LabError` when others have the bridge's name or addresses of the subnet."""
    from pyroute2.iproute import IPRoute  # noqa: PLC0415 - 130 ms

    with IPRoute() as netlink:
        _check_clash(netlink, settings, _link(netlink, settings.bridge))


def ensure_network(settings: Settings) -> str:
    """Bridge, address, NAT. Returns net.ipv4.ip_forward as it was before any lab. Raises `LabError` as
    `check_free` does."""
    from pyroute2.iproute import IPRoute  # noqa: PLC0415 - 130 ms

    with IPRoute() as netlink:
        before = _forwarding_before_labs(netlink)
        bridge = _link(netlink, settings.bridge)
        _check_clash(netlink, settings, bridge)
        mtu = uplink_mtu()
        if bridge is None:
            netlink.link("add", ifname=settings.bridge, kind="bridge", br_stp_state=0, br_forward_delay=0)
            bridge = _link(netlink, settings.bridge)
        assert bridge is not None
        index = bridge["index"]
        # the alias says whose it is, to the next run and to `ip link`
        netlink.link("set", index=index, ifalias=_alias(settings), mtu=mtu)
        addresses = [one.get_attr("IFA_ADDRESS") for one in netlink.get_addr(index=index, family=2)]
        if settings.gateway not in addresses:
            netlink.addr("add", index=index, address=settings.gateway, prefixlen=settings.network.prefixlen)
        netlink.link("set", index=index, state="up")
    FORWARD.write_text("1\n")
    for name, least in LIMITS:
        path = Path("/proc/sys") / name
        if path.exists() and int(path.read_text()) < least:
            path.write_text(f"{least}\n")
    return before


def set_rules(settings: Settings, isolated: Iterable[str]) -> None:
    """NAT for the subnet, none for isolated hosts; replaces the whole table in one transaction."""
    table, bridge, subnet = settings.table, settings.bridge, settings.subnet
    # one rule a host instead of a set: an empty set has no type to be inferred from
    drops = "\n".join(
        f'iifname "{bridge}" oifname != "{bridge}" ip saddr {ip} reject' for ip in sorted(isolated)
    )
    rules = f"""
add table ip {table}
delete table ip {table}
table ip {table} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {subnet} ip daddr != {subnet} masquerade
  }}
  chain forward {{
    type filter hook forward priority filter - 1; policy accept;
    {drops}
    iifname "{bridge}" tcp flags syn tcp option maxseg size set rt mtu
  }}
}}
"""
    call(["nft", "-f", "-"], stdin=rules, why="nftables did not take the lab's rules")
    _open_forward_chain(settings)


def remove_network(settings: Settings, forwarding_before: str) -> None:
    """Takes away everything that `ensure_network` and `set_rules` made; what is gone already is fine."""
    from pyroute2.iproute import IPRoute  # noqa: PLC0415 - 130 ms

    call(["nft", "delete", "table", "ip", settings.table], check=False)
    for rule in _forward_rules(settings) if _has_iptables() else ():
        while call(["iptables", "-w", "-D", "FORWARD", *rule], check=False).returncode == 0:
            pass
    with IPRoute() as netlink:
        bridge = _link(netlink, settings.bridge)
        if bridge is not None and bridge.get_attr("IFLA_IFALIAS") == _alias(settings):
            netlink.link("del", index=bridge["index"])
        others = any(netlink.get_links(kind="bridge"))
    if forwarding_before == "0" and not others:  # another lab or a Docker may need it by now
        FORWARD.write_text("0\n")


def uplink_mtu() -> int:
    """The default route's MTU, at most 1500: larger packets of the hosts would be lost there."""
    from pyroute2.iproute import IPRoute  # noqa: PLC0415 - 130 ms

    with IPRoute() as netlink:
        for route in netlink.get_default_routes(family=2):
            index = route.get_attr("RTA_OIF")
            if index:
                return min(1500, int(netlink.get_links(index)[0].get_attr("IFLA_MTU")))
    return 1500


def _link(netlink: Any, name: str) -> Any:
    found = netlink.link_lookup(ifname=name)
    return netlink.get_links(found[0])[0] if found else None


def _alias(settings: Settings) -> str:
    return f"{ALIAS}{settings.state}"


def _forwarding_before_labs(netlink: Any) -> str:
    """net.ipv4.ip_forward as the first of the labs that are up found it: the last one to go restores it."""
    for link in netlink.get_links(kind="bridge"):
        alias = str(link.get_attr("IFLA_IFALIAS") or "")
        if alias.startswith(ALIAS):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                document = json.loads((Path(alias.removeprefix(ALIAS)) / "lab.json").read_text())
                if document.get("forwarding_before"):
                    return str(document["forwarding_before"])
    return FORWARD.read_text().strip()


def _check_clash(netlink: Any, settings: Settings, bridge: Any) -> None:
    if bridge is not None and bridge.get_attr("IFLA_IFALIAS") != _alias(settings):
        raise LabError(
            f"there is a network interface {settings.bridge} already, and it is not this lab's",
            why=f"its alias is {bridge.get_attr('IFLA_IFALIAS') or 'empty'}",
            hint="--bridge NAME (or MACHINECTL_LAB_BRIDGE)",
        )
    own = bridge["index"] if bridge is not None else -1
    for route in netlink.get_routes(family=2):
        target = route.get_attr("RTA_DST")
        if target is None or route.get_attr("RTA_OIF") == own:
            continue
        other = ipaddress.IPv4Network(f"{target}/{route['dst_len']}", strict=False)
        if other.overlaps(settings.network):
            index = route.get_attr("RTA_OIF")  # none where packets are dropped, or spread over several links
            link = f" by {netlink.get_links(index)[0].get_attr('IFLA_IFNAME')}" if index else ""
            raise LabError(
                f"the lab's subnet {settings.subnet} is in use on this machine",
                why=f"there is a route to {other}{link}",
                hint="--subnet CIDR --bridge NAME (or MACHINECTL_LAB_SUBNET, MACHINECTL_LAB_BRIDGE)",
            )


def _forward_rules(settings: Settings) -> list[list[str]]:
    comment = ["-m", "comment", "--comment", settings.table, "-j", "ACCEPT"]
    return [["-i", settings.bridge, *comment], ["-o", settings.bridge, *comment]]


def _has_iptables() -> bool:
    """Docker needs it; without it nobody has set FORWARD to DROP by it."""
    return shutil.which("iptables", path=PATH) is not None


def _open_forward_chain(settings: Settings) -> None:
    """Where a Docker on this machine has set FORWARD to DROP, accept rules of other tables don't help."""
    if not _has_iptables():
        return
    listed = call(["iptables", "-w", "-S", "FORWARD"], check=False).stdout
    if "-P FORWARD DROP" not in listed:
        return
    for rule in _forward_rules(settings):
        if call(["iptables", "-w", "-C", "FORWARD", *rule], check=False).returncode != 0:
            call(["iptables", "-w", "-I", "FORWARD", *rule])
