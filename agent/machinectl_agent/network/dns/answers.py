"""A question and who asks it → the answer, or that it has to be forwarded. Pure but for the round robin's dice."""

from __future__ import annotations

import ipaddress
import random
from typing import Optional

from dnslib import AAAA, PTR, QTYPE, RCODE, RR, SOA, A, DNSRecord

from machinectl_agent.network.dns.zone import Client, Zone

TTL = 2
"""Seconds: a container's address may be another one's soon after it has gone."""


def answer(zone: Zone, client: Client, query: DNSRecord) -> Optional[DNSRecord]:
    """None: forward it. AA is set on all that is ours (RFC 1035, 4.1.1)."""
    name, kind = str(query.q.qname), int(query.q.qtype)
    reply = query.reply(aa=1, ra=1)
    if kind == QTYPE.PTR:
        return _reverse(zone, client, reply, name)
    found = zone.find(client, name)
    if not found:
        if client.forward:
            return None
        # isolated: no name of it goes out. REFUSED, as we know nothing about it
        reply.header.aa, reply.header.rcode = 0, RCODE.REFUSED
        return reply
    addresses = [(one.ip, QTYPE.A, A) for one in found if one.ip] + [
        (one.ip6, QTYPE.AAAA, AAAA) for one in found if one.ip6
    ]
    chosen = [(ip, shape) for ip, of, shape in addresses if of == kind]
    random.shuffle(chosen)  # clients take the first: replicas share the load
    for ip, shape in chosen:
        reply.add_answer(RR(query.q.qname, kind, rdata=shape(ip), ttl=TTL))
    if not chosen:
        _no_data(reply, name)
    return reply


def refusal(query: DNSRecord, code: int) -> DNSRecord:
    reply: DNSRecord = query.reply(ra=1)
    reply.header.rcode = code
    return reply


def _reverse(zone: Zone, client: Client, reply: DNSRecord, name: str) -> Optional[DNSRecord]:
    address = parse_reverse(name)
    ours, found = zone.reverse(client, address) if address else (False, "")
    if found:
        reply.add_answer(RR(reply.q.qname, QTYPE.PTR, rdata=PTR(found), ttl=TTL))
    elif ours or not client.forward:
        reply.header.rcode = RCODE.NXDOMAIN
        _no_data(reply, name)
    else:
        return None
    return reply


def parse_reverse(name: str) -> str:
    """`2.1.77.10.in-addr.arpa.` → `10.77.1.2`; empty for what is no such name (RFC 1035, 3.5; RFC 3596, 2.5)."""
    labels = name.rstrip(".").lower().split(".")
    try:
        if labels[-2:] == ["in-addr", "arpa"] and len(labels) == 6:
            return str(ipaddress.IPv4Address(".".join(reversed(labels[:4]))))
        if labels[-2:] == ["ip6", "arpa"] and len(labels) == 34:
            return str(ipaddress.IPv6Address(int("".join(reversed(labels[:32])), 16)))
    except ValueError:
        pass
    return ""


def _no_data(reply: DNSRecord, name: str) -> None:
    """The name is ours and has nothing of this kind: an SOA in the authority section (RFC 2308, 2.2)."""
    times = (1, TTL, TTL, TTL, TTL)
    reply.add_auth(RR(name, QTYPE.SOA, rdata=SOA("machinectl.", "machinectl.", times), ttl=TTL))
