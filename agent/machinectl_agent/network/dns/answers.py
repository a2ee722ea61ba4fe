"""The zone's answer → a packet, no longer than the client takes."""

from __future__ import annotations

import ipaddress
from typing import Any, Optional

from dnslib import AAAA, CLASS, EDNS0, PTR, QTYPE, RCODE, RR, SOA, A, DNSHeader, DNSLabel, DNSRecord

from machinectl_agent.network.dns.query import Query
from machinectl_agent.network.dns.verdict import Answer, Verdict

TTL = 5
"""Seconds, also of what is not there: an address may be another container's soon after its own has gone, and a
name that was asked for too early is there within a second. A question costs us well under a millisecond."""
PAYLOAD = 1232
"""Bytes of UDP that we say we take, and that our own answers have at most: no fragments on any path
(dnsflagday.net/2020)."""
_TCP = 65535
_OPT = 11
_SOA = 60
"""Bytes of the record, names compressed."""

_STATUS = {
    Verdict.FOUND: RCODE.NOERROR,
    Verdict.NO_DATA: RCODE.NOERROR,
    Verdict.NO_NAME: RCODE.NXDOMAIN,
    Verdict.REFUSED: RCODE.REFUSED,
}


def render(query: Query, answer: Answer, *, tcp: bool) -> bytes:
    """With AA on all that is ours: Docker's resolver then does not ask anybody else. What does not fit in UDP is left
    out, and TC makes the client ask by TCP."""
    reply = _reply(query, _STATUS[answer.verdict], ours=answer.verdict is not Verdict.REFUSED)
    name = query.question.qname
    room = (_TCP if tcp else min(query.limit, PAYLOAD)) - _length(query)
    for kind, value in answer.values:
        room -= 12 + (len(value) + 2 if kind == "PTR" else 4 if kind == "A" else 16)
        if room < 0:
            reply.header.tc = 1
            break
        reply.rr.append(RR(name, getattr(QTYPE, kind), rdata=_data(kind, value), ttl=TTL))
    if answer.verdict in (Verdict.NO_DATA, Verdict.NO_NAME):
        # without an SOA nobody may keep a negative answer (RFC 2308, 5)
        soa = SOA("machinectl.", "machinectl.", (1, TTL, TTL, TTL, TTL))
        if room >= _SOA:
            reply.auth.append(RR(name, QTYPE.SOA, rdata=soa, ttl=TTL))
    return _packed(reply, query)


def render_status(query: Query, code: int, *, ours: bool = False) -> bytes:
    """Nothing but a status: one of dnslib's RCODE."""
    return _packed(_reply(query, code, ours=ours), query)


def render_early(query: Query) -> Optional[bytes]:
    """What is answered before anybody looks at the name; None for all common questions."""
    if query.opt is not None and query.opt.edns_ver > 0:
        # BADVERS is 16: the upper 8 bits of the status are in OPT (RFC 6891, 6.1.3)
        return _packed(_reply(query, RCODE.NOERROR), query, extended=1)
    if query.question.qclass != CLASS.IN or query.kind in ("AXFR", "IXFR"):
        return render_status(query, RCODE.REFUSED)
    return None


def fitted(query: Query, reply: bytes) -> bytes:
    """A forwarded reply as the client takes it by UDP: where a server sends more than it was asked to, TC."""
    if len(reply) <= query.limit:
        return reply
    short = _reply(query, RCODE.NOERROR)
    short.header.tc = 1
    return _packed(short, query)


def _reply(query: Query, code: int, *, ours: bool = False) -> DNSRecord:
    asked = query.header
    header = DNSHeader(id=asked.id, bitmap=0, qr=1, aa=int(ours), rd=asked.rd, ra=1, cd=asked.cd, rcode=code)
    return DNSRecord(header, q=query.question)


def _packed(reply: DNSRecord, query: Query, extended: int = 0) -> bytes:
    if query.opt is not None:
        flags = "do" if query.opt.edns_do else ""
        reply.ar.append(EDNS0(flags=flags, udp_len=PAYLOAD, ext_rcode=extended))
    return bytes(reply.pack())


def _length(query: Query) -> int:
    """Bytes of header, question and OPT."""
    name = sum(len(one) + 1 for one in query.question.qname.label) + 1
    return 12 + name + 4 + (_OPT if query.opt is not None else 0)


def _data(kind: str, value: str) -> Any:
    if kind == "PTR":
        return PTR(DNSLabel(value.encode().split(b".")))
    return A(value) if kind == "A" else AAAA(tuple(ipaddress.IPv6Address(value).packed))
