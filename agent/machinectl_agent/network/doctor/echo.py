"""One ping, without a program for it (RFC 792, RFC 4443)."""

from __future__ import annotations

import os
import socket
import struct
import time

_ASK, _ANSWER, _ASK6, _ANSWER6 = 8, 0, 128, 129


def answers_echo(address: str, deadline: float = 1.0) -> bool:
    """Whether the host answers within `deadline` seconds. False also where we may not ask."""
    v6 = ":" in address
    family, protocol = (socket.AF_INET6, 58) if v6 else (socket.AF_INET, 1)
    identity = os.getpid() & 0xFFFF
    end = time.monotonic() + deadline
    try:
        with socket.socket(family, socket.SOCK_RAW, protocol) as one:
            one.connect((address, 0))
            one.send(render(_ASK6 if v6 else _ASK, identity))
            while True:
                one.settimeout(max(end - time.monotonic(), 0.001))
                packet = one.recv(2048)
                # an IPv4 raw socket gives the IP header as well
                start = 0 if v6 else (packet[0] & 0x0F) * 4
                kind, _, _, whose = struct.unpack_from("!BBHH", packet, start)
                if kind == (_ANSWER6 if v6 else _ANSWER) and whose == identity:
                    return True
    except (OSError, struct.error):
        return False


def render(kind: int, identity: int) -> bytes:
    """Pure; the kernel fills in ICMPv6's checksum itself."""
    plain = struct.pack("!BBHHH", kind, 0, 0, identity, 1)
    total = sum(struct.unpack("!4H", plain))
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!BBHHH", kind, 0, ~total & 0xFFFF, identity, 1)
