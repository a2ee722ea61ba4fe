"""Hears probes behind the host's INPUT rules, beside the kernel's VXLAN socket (raw(7), socket(7))."""

from __future__ import annotations

import ctypes
import socket
import struct
import time
from typing import Iterator, Tuple

from machinectl_agent.network.probe.packet import MAGIC, Probe, decode

_SO_ATTACH_FILTER = 26
_LDX_MSH, _LDH_IND, _LD_IND, _LDX_IMM, _JEQ, _RET = 0xB1, 0x48, 0x40, 0x01, 0x15, 0x06
"""Classic BPF, linux/filter.h: X = 4*(P[k] & 0xf); A = half P[X+k]; A = word P[X+k]; X = k; skip unless A == k."""

_UDP = 8


class Ear:
    """Only what decodes as a probe comes out."""

    def __init__(self, address: str, port: int) -> None:
        """Raises OSError where raw sockets are forbidden."""
        self._v6 = ":" in address
        family = socket.AF_INET6 if self._v6 else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_UDP)
        self._attach(port)
        self._socket.bind((address, 0))

    def hear(self, until: float) -> Iterator[Tuple[Probe, str, int]]:
        """Probe, sender's address, bytes of the UDP payload; until time.monotonic() is `until`."""
        while True:
            left = until - time.monotonic()
            if left <= 0:
                return
            self._socket.settimeout(left)
            try:
                packet, sender = self._socket.recvfrom(65535)
            except OSError:  # the time is over; or an ICMP error, which says nothing about the next packet
                continue
            # an IPv4 raw socket gives the IP header as well, an IPv6 one does not
            start = 0 if self._v6 else (packet[0] & 0x0F) * 4
            payload = packet[start + _UDP :]
            probe = decode(payload)
            if probe:
                yield probe, str(sender[0]), len(payload)

    def close(self) -> None:
        self._socket.close()

    def _attach(self, port: int) -> None:
        """In the kernel: to our port, and with our magic. Else a busy VXLAN would wake Python for each packet."""
        (word,) = struct.unpack("!I", MAGIC[:4])
        header = (_LDX_IMM, 0, 0, 0) if self._v6 else (_LDX_MSH, 0, 0, 0)
        steps = (
            header,
            (_LDH_IND, 0, 0, 2),
            (_JEQ, 0, 3, port),
            (_LD_IND, 0, 0, _UDP + 8),
            (_JEQ, 0, 1, word),
            (_RET, 0, 0, 0xFFFFFFFF),
            (_RET, 0, 0, 0),
        )
        program = b"".join(struct.pack("HBBI", *step) for step in steps)
        space = ctypes.create_string_buffer(program)
        # struct sock_fprog: a short, then a pointer at its own alignment
        described = struct.pack("HL", len(steps), ctypes.addressof(space))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)


class Mouth:
    """Sends from the VTEP, never fragmented."""

    def __init__(self, address: str, port: int) -> None:
        self._port = port
        self._v6 = ":" in address
        family = socket.AF_INET6 if self._v6 else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.bind((address, 0))
        if self._v6:
            self._socket.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PROBE)
        else:
            self._socket.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PROBE)

    def say(self, payload: bytes, to: str) -> str:
        """Empty, or the kernel's reason against sending it (EMSGSIZE, no route, refused by a rule)."""
        try:
            self._socket.sendto(payload, (to, self._port))
        except OSError as error:
            return error.strerror or str(error)
        return ""

    def close(self) -> None:
        self._socket.close()


_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PROBE = 10, 23, 3
"""ip(7), ipv6(7): sets DF, and forgets what was learned of the path before."""
