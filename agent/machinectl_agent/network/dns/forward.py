"""Asking the host's own DNS servers, from the host's namespace: what both transports share, and the one for clients
that came by TCP. Packets go through as they came but for the id: what dnslib does not know gets through, too."""

from __future__ import annotations

import secrets
import socket
import struct
import time
from typing import Optional, Sequence

from dnslib import RCODE, DNSHeader, DNSQuestion
from dnslib.label import DNSBuffer

from machinectl_agent.network.dns.query import Query, check_first_name
from machinectl_agent.network.dns.standing import Standing
from machinectl_agent.network.dns.upstreams import address_of

PATIENCE = 1.2
"""Seconds for one server. Three of them are less than the 4 s that Docker's resolver waits for us."""
LARGEST = 65535
"""Bytes of a message (RFC 1035, 4.2.2)."""

_ELSEWHERE = (RCODE.SERVFAIL, RCODE.REFUSED)
"""Another server may know."""


def renumbered(query: Query) -> bytes:
    """The query under a random id: with the random port of its socket the only secret that keeps others from
    answering (RFC 5452)."""
    return struct.pack("!H", secrets.randbits(16)) + query.packet[2:]


def is_answer(reply: bytes, asked: bytes, query: Query) -> bool:
    """Whether it is a reply to this question. Only its beginning is parsed: the rest is the client's."""
    if reply[:2] != asked[:2]:
        return False
    try:
        buffer = DNSBuffer(reply)
        header = DNSHeader.parse(buffer)
        if header.q:
            check_first_name(reply)
        # some servers send an error without the question
        return bool(header.qr) and (
            DNSQuestion.parse(buffer) == query.question if header.q else header.rcode != RCODE.NOERROR
        )
    except Exception:  # as in parse_query
        return False


def is_last_word(reply: bytes) -> bool:
    """Whether no other server has to be asked: an answer, a negative one, or NOTIMP and the like."""
    return (reply[3] & 0x0F) not in _ELSEWHERE


def is_truncated(reply: bytes) -> bool:
    return bool(reply[2] & 0x02)


def connected(server: str) -> socket.socket:
    """A non-blocking UDP socket with a random port, which takes packets of this server only. Raises OSError,
    ValueError."""
    host, port = address_of(server)
    one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        one.setblocking(False)
        one.connect((host, port))
    except BaseException:
        one.close()
        raise
    return one


def ask(query: Query, servers: Sequence[str], standing: Standing) -> Optional[bytes]:
    """For a client that came by TCP: by UDP first, as most servers are fastest there, and by TCP what is truncated.
    None where nobody answers."""
    last = None
    for server in standing.order(servers):
        asked = renumbered(query)
        until = time.monotonic() + PATIENCE
        try:
            reply = _by_udp(query, server, asked, until)
            if is_truncated(reply):
                reply = _by_tcp(query, server, asked, time.monotonic() + PATIENCE)
        except (OSError, ValueError):
            standing.failed(server)
            continue
        standing.answered(server)
        last = query.packet[:2] + reply[2:]
        if is_last_word(reply):
            break
    return last


def read_message(one: socket.socket, until: float, largest: int = LARGEST) -> bytes:
    """A message behind its length (RFC 1035, 4.2.2). Raises OSError at the end of the stream, at the deadline
    (monotonic seconds), and where it is longer than `largest`."""
    length = struct.unpack("!H", _exactly(one, 2, until))[0]
    if length > largest:
        raise OSError(f"a message of {length} bytes")
    return _exactly(one, length, until)


def _by_udp(query: Query, server: str, asked: bytes, until: float) -> bytes:
    with connected(server) as one:
        one.send(asked)
        while True:
            one.settimeout(_left(until))
            reply = one.recv(LARGEST)
            if is_answer(reply, asked, query):
                return reply


def _by_tcp(query: Query, server: str, asked: bytes, until: float) -> bytes:
    with socket.create_connection(address_of(server), timeout=_left(until)) as one:
        one.sendall(struct.pack("!H", len(asked)) + asked)
        reply = read_message(one, until)
    if not is_answer(reply, asked, query):
        raise ConnectionError("an answer to something else")
    return reply


def _exactly(one: socket.socket, count: int, until: float) -> bytes:
    found = b""
    while len(found) < count:
        one.settimeout(_left(until))
        part = one.recv(count - len(found))
        if not part:
            raise ConnectionResetError("the connection ended in mid-message")
        found += part
    return found


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("too late")
    return left
