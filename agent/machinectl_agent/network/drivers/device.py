"""The VXLAN device of a network: how it must be, whether one that is there can stay, and making it.

It is asked for in the host's namespace and made in the network's, by one request: its UDP socket belongs to the
former, and no half-made device can be left by a kill.
"""

from __future__ import annotations

import errno
import os
import time
from typing import Any, Callable, Dict, Optional

from machinectl_agent.network.drivers.interface import Wiring
from machinectl_agent.network.drivers.interior import VXLAN
from machinectl_agent.network.netlink import links
from machinectl_agent.network.netlink.links import Link
from machinectl_agent.network.netlink.sockets import Netlink, Refused
from machinectl_agent.problems import Problem

TTL = 64
_PATIENCE = 3.0
"""Seconds for a VNI whose device is just ending: the kernel takes a namespace's devices down after the fact."""
_PAUSE = 0.02


def settings(wiring: Wiring, port: int) -> Dict[str, Any]:
    """RFC 7348: over IPv4 without an outer checksum (the inner ones stay); over IPv6 with, as that has none else."""
    local: Dict[str, Any] = (
        {"VXLAN_LOCAL6": wiring.underlay}
        if ":" in wiring.underlay
        else {"VXLAN_LOCAL": wiring.underlay, "VXLAN_UDP_CSUM": 0}
    )
    return {
        "VXLAN_ID": wiring.vni,
        "VXLAN_PORT": port,
        "VXLAN_LEARNING": 0,
        "VXLAN_PROXY": 1,
        "VXLAN_TTL": TTL,
        **local,
    }


def difference(found: Link, wiring: Wiring, port: int) -> Dict[str, Any]:
    """Settings that are otherwise. What the kernel does not tell (an address of the other family) differs too."""
    return {
        name: value for name, value in settings(wiring, port).items() if found.settings.get(name) != value
    }


def ensure(
    host: Netlink,
    netlink: Netlink,
    path: str,
    wiring: Wiring,
    port: int,
    owner: Callable[[int], str],
) -> Optional[str]:
    """Why it was made or changed; None where it was right. `owner`: says who has a VNI, or nothing."""
    found = links.link(netlink, VXLAN)
    if found is None:
        _make(host, path, wiring, port, owner)
        return "missing"
    wrong = difference(found, wiring, port)
    if not wrong:
        return None
    if set(wrong) <= {"VXLAN_LOCAL"} and _move(netlink, found, wrong):
        return "moved to another underlay address"
    links.delete(netlink, VXLAN)
    _make(host, path, wiring, port, owner)
    return "made anew: " + ", ".join(f"{name} {found.settings.get(name)}" for name in sorted(wrong))


def _move(netlink: Netlink, found: Link, wrong: Dict[str, Any]) -> bool:
    """The own address can change in place where the kernel knows how (IPv4 to IPv4): no entry is lost."""
    try:
        netlink.run(links.change_settings(found.index, "vxlan", wrong))
    except Refused:
        return False
    return True


def _make(host: Netlink, path: str, wiring: Wiring, port: int, owner: Callable[[int], str]) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    end = time.monotonic() + _PATIENCE
    try:
        while True:
            wanted = links.make("vxlan", VXLAN, settings(wiring, port), mtu=wiring.mtu, net_ns_fd=descriptor)
            try:
                host.run(wanted)
                return
            except Refused as error:
                by = owner(wiring.vni) if error.errno == errno.EEXIST else ""
                if error.errno != errno.EEXIST or by or time.monotonic() > end:
                    raise problem(error, wiring, port, by) from error
            time.sleep(_PAUSE)
    finally:
        os.close(descriptor)


def problem(error: Refused, wiring: Wiring, port: int, by: str = "") -> Problem:
    """Words for a refusal, of making the device or of bringing it up."""
    if error.errno == errno.EEXIST:
        return Problem(
            "vni-taken",
            f"the VXLAN of network {wiring.network[:12]} can't be made: VNI {wiring.vni} is taken on this host",
            why=f"{by or 'a VXLAN device in another namespace'} has it on UDP port {port}",
            hint="remove that device (`ip -d link show type vxlan`), or make the network anew: it gets another VNI",
        )
    if error.errno == errno.EADDRINUSE:
        return Problem(
            "vxlan-port-taken",
            f"the VXLAN of network {wiring.network[:12]} can't be made: UDP port {port} is taken on this host",
            why="another program listens on it, or a VXLAN device with other settings",
            hint=f"`ss -ulpn sport = :{port}` shows which one",
        )
    if error.errno in (errno.EOPNOTSUPP, errno.ENODEV):
        return Problem(
            "no-vxlan",
            f"the VXLAN of network {wiring.network[:12]} can't be made: the kernel has no VXLAN",
            why=str(error.strerror),
            hint="`modprobe vxlan`; a cut-down kernel may need its package of extra modules",
        )
    return Problem(
        "vxlan-failed",
        f"the VXLAN of network {wiring.network[:12]} can't be made",
        why=f"the kernel says: {error.strerror}",
        hint=f"VNI {wiring.vni}, own address {wiring.underlay}, MTU {wiring.mtu}: is one of these wrong?",
    )
