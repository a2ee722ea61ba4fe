"""A packet → the question in it. dnslib parses; what it does not look at is checked here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Optional

from dnslib import OPCODE, QTYPE, RCODE, RR, DNSHeader, DNSQuestion, DNSRecord
from dnslib.label import DNSBuffer

PLAIN = 512
"""Bytes of a UDP answer without EDNS (RFC 1035, 4.2.1)."""
_HEADER = 12
_LABEL, _LONGEST = 63, 255
"""Bytes of a label and of a name (RFC 1035, 2.3.4)."""
_EXTRAS = 4
"""Additional records of a query: OPT, a signature. Parsing costs time, and anybody may send."""


@dataclass(frozen=True)
class Query:
    """A question as it came."""

    packet: bytes
    header: Any
    question: Any
    name: str
    """Without the last dot, as it was spelt; empty where it is no name of ours for sure."""
    kind: str
    """dnslib's name of the type: A, AAAA, PTR …"""
    limit: int
    """Bytes of a UDP answer that the client takes."""
    opt: Optional[Any]
    """The client's OPT record (RFC 6891)."""


class Malformed(Exception):
    """No question that can be answered; `reply` is what to send, empty for nothing."""

    def __init__(self, reply: bytes = b"") -> None:
        super().__init__("no question")
        self.reply = reply


def parse_query(packet: bytes) -> Query:
    """Raises Malformed. Nothing is sent to what may itself be an answer: two servers would talk for ever."""
    if len(packet) < _HEADER:
        raise Malformed
    buffer = DNSBuffer(packet)
    header = DNSHeader.parse(buffer)
    if header.qr:
        raise Malformed
    if header.opcode != OPCODE.QUERY:
        raise Malformed(_status(header, RCODE.NOTIMP))
    if header.q != 1 or header.a or header.auth or header.ar > _EXTRAS:
        raise Malformed(_status(header, RCODE.FORMERR))
    try:
        check_first_name(packet)
        question = DNSQuestion.parse(buffer)
        extras = _extras(buffer, header.ar)
    except Exception as error:  # also RecursionError, struct.error …: foreign bytes must not end the server
        raise Malformed(_status(header, RCODE.FORMERR)) from error
    opts = [one for one in extras if one.rtype == QTYPE.OPT]
    if len(opts) > 1:
        raise Malformed(_status(header, RCODE.FORMERR))
    opt = opts[0] if opts else None
    limit = max(PLAIN, opt.rclass) if opt is not None else PLAIN
    return Query(packet, header, question, _name(question), QTYPE.get(question.qtype), limit, opt)


def check_first_name(packet: bytes) -> None:
    """Raises ValueError where the question's name has a pointer (there is nothing to point to) or is too long.
    dnslib follows pointers by recursion and reads names of any length: before Python 3.11 a chain of a thousand in
    a thread of ours, with its small stack, ends the process."""
    place = _HEADER
    while packet[place]:
        if packet[place] > _LABEL:
            raise ValueError("a pointer")
        place += 1 + packet[place]
        if place - _HEADER >= _LONGEST:
            raise ValueError("a long name")


def _extras(buffer: DNSBuffer, count: int) -> List[Any]:
    """Up to the first that does not belong to the root: OPT does (RFC 6891, 6.1.2), a signature (last, RFC 8945)
    does not and goes through unread. So no pointer is followed here, either."""
    found = []
    for _ in range(count):
        if buffer.data[buffer.offset] != 0:
            break
        found.append(RR.parse(buffer))
    return found


def _name(question: Any) -> str:
    """A dot inside of a label must not read as two labels: `web\\.demo` is not `web.demo`."""
    labels = question.qname.label
    return "" if any(b"." in one for one in labels) else b".".join(labels).decode()


def _status(header: Any, code: int) -> bytes:
    """Only a header: the rest of the query may be unreadable."""
    reply = DNSHeader(id=header.id, bitmap=0, qr=1, opcode=header.opcode, rd=header.rd, rcode=code)
    return bytes(DNSRecord(reply).pack())
