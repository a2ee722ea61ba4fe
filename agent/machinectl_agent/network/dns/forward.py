"""Asking the host's own DNS servers, from the host's namespace."""

from __future__ import annotations

import secrets
import socket
import struct
from typing import Sequence

from dnslib import DNSError, DNSRecord

PATIENCE = 2.0
"""Seconds for one server; a client's own resolver waits for 5 (resolv.conf(5), timeout)."""


def forward(text: bytes, upstreams: Sequence[str], *, tcp: bool) -> bytes:
    """The first server's answer to this question, with the question's own id; empty where none answers. Each
    question goes out with a random id from a random port, and only an answer to it from there counts (RFC 5452)."""
    number = secrets.randbits(16)
    asked = struct.pack("!H", number) + text[2:]
    for server in upstreams:
        try:
            found = _by_tcp(server, asked) if tcp else _by_udp(server, asked)
        except OSError:
            continue
        if _answers(found, asked):
            return text[:2] + found[2:]
    return b""


def _by_udp(server: str, text: bytes) -> bytes:
    with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(PATIENCE)
        one.connect((server, 53))
        one.send(text)
        while True:
            found = one.recv(65535)
            if found[:2] == text[:2]:
                return found


def _by_tcp(server: str, text: bytes) -> bytes:
    with socket.create_connection((server, 53), timeout=PATIENCE) as one:
        one.sendall(struct.pack("!H", len(text)) + text)
        return read_message(one)


def read_message(one: socket.socket) -> bytes:
    """A message behind its length (RFC 1035, 4.2.2). Raises OSError at the end of the stream."""
    length = struct.unpack("!H", _exactly(one, 2))[0]
    return _exactly(one, length)


def _exactly(one: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        part = one.recv(count - len(found))
        if not part:
            raise ConnectionResetError("the connection ended in mid-message")
        found += part
    return found


def _answers(found: bytes, asked: bytes) -> bool:
    try:
        reply, question = DNSRecord.parse(found), DNSRecord.parse(asked)
    except (DNSError, ValueError, IndexError, struct.error):
        return False
    return bool(
        reply.header.qr and reply.header.id == question.header.id and reply.questions == question.questions
    )
