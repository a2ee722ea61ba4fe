"""The underlay: whether packets to UDP 4789 get through, how large they may be, and what time the peers have."""

from __future__ import annotations

from typing import Iterator, List

from machinectl_agent.network import underlay
from machinectl_agent.network.doctor import rules
from machinectl_agent.network.doctor.case import Case
from machinectl_agent.network.doctor.echo import answers_echo
from machinectl_agent.network.doctor.finding import Finding
from machinectl_agent.network.probe.packet import LEAST
from machinectl_agent.network.probe.prober import Reach, probe

CLOCK = 2.0
"""Seconds that clocks may differ; certificates and logs bear that."""

SMALLER = (1480, 1450, 1400, 1280)
"""Bytes of whole IP packets: usual MTUs on the way, tried to say what does get through."""


def check_reach(case: Case) -> Iterator[Finding]:
    """Peers that are not alive are left out: members.py names them."""
    core, settings = case.core, case.core.settings
    own = core.fabric.vtep
    family = ":" in own
    peers = {one.id: one for one in case.peers if one.id in case.alive and one.vtep != own}
    for one in list(peers.values()):
        if (":" in one.vtep) != family:
            yield Finding(
                f"machine {one.name}",
                f"its VTEP {one.vtep} is of another address family than ours, {own}",
                "a VXLAN device has one family only",
                "`machinectl network join --advertise ADDRESS NAME`",
            )
            del peers[one.id]
    if not peers or case.away:
        return
    full = needed(case)
    sizes = [LEAST, *(one for one in SMALLER if one < full), full]
    addresses = {one.id: one.vtep for one in peers.values()}
    found = probe(case.kv, core.layout, settings.id, settings.port, own, addresses, sizes)
    for peer, reach in found.items():
        name, vtep = peers[peer].name, peers[peer].vtep
        silent = not reach.answered and not reach.heard
        up = answers_echo(vtep) if silent and not reach.refused else False
        yield from judge(
            name, vtep, reach, full, settings.port, host_answers=up, closed=_closed(settings.port)
        )
        yield from clock(name, reach)


def needed(case: Case) -> int:
    """Bytes of the largest IP packet that these networks send between machines."""
    own = case.core.fabric.vtep
    headers = underlay.VXLAN_IPV6 if ":" in own else underlay.VXLAN_IPV4
    return max(
        (underlay.container_mtu(one.mtu, own) + headers for one in case.networks),
        default=underlay.link_mtu(own),
    )


def judge(
    name: str, vtep: str, reach: Reach, full: int, port: int, *, host_answers: bool, closed: str
) -> Iterator[Finding]:
    """Pure. One peer; `closed`: what our own firewall has against the port, empty if nothing is seen."""
    subject = f"machine {name}"
    here = f"; here: {closed}" if closed else ""
    if reach.answered:
        yield from size(subject, vtep, reach, full)
    elif reach.refused and not reach.heard:
        why = next(iter(reach.refused.values()))
        hint = "look at this host's routes and firewall (`ip route get`, `nft list ruleset`)"
        yield Finding(subject, f"this host can't send to {vtep} UDP {port}", f"{why}{here}", hint)
    elif reach.heard:
        yield Finding(
            subject,
            f"UDP {port} from {vtep} is blocked on its way here",
            f"{name} has our packets, its answers do not come in{here}",
            f"let UDP {port} from the other machines in, here and on the way",
        )
    elif reach.listening:
        yield Finding(
            subject,
            f"UDP {port} to {vtep} is blocked" if host_answers else f"{vtep} is not reached",
            f"{name} listened and heard nothing; it "
            + ("answers ping, so the host is up" if host_answers else "does not answer ping either"),
            f"let UDP {port} in on {name} and on the way (security groups, `nft list ruleset`)"
            if host_answers
            else "look at the routes and the link between the two hosts",
        )
    else:
        yield Finding(
            subject,
            f"nothing can be said about UDP {port} to {vtep}",
            "its agent did not begin to listen: it is an older one, or has lost etcd a moment ago",
            "run it again in 10 s; `machinectl agent upgrade` brings the agent up to date",
        )


def size(subject: str, vtep: str, reach: Reach, full: int) -> Iterator[Finding]:
    """Pure. An answer is small: what is missing did not get there."""
    if full in reach.answered:
        return
    passed = max(reach.answered)
    reason = reach.refused.get(full, "")
    yield Finding(
        subject,
        f"packets of {full} bytes don't reach {vtep}, {passed} bytes do",
        f"this host does not send them: {reason}"
        if reason
        else "a link on the way, or the peer's, has a smaller MTU",
        f"give the links MTU {full}, or make the network with `--mtu {passed - 50}`",
    )


def clock(name: str, reach: Reach) -> Iterator[Finding]:
    """Pure."""
    if reach.clock is None or reach.delay is None or abs(reach.clock) - reach.delay / 2 < CLOCK:
        return
    direction = "ahead of" if reach.clock > 0 else "behind"
    yield Finding(
        f"machine {name}",
        f"its clock is {abs(reach.clock):.1f} s {direction} ours",
        "certificates and etcd's leases need clocks that agree",
        "`timedatectl` on both hosts; `machinectl provision NAME` starts a time service",
    )


def _closed(port: int) -> str:
    found: List[str] = rules.closing(rules.read_filters(), port)
    return "; ".join(found[:2])
