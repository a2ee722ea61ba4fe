"""The datagrams: VXLAN's header (RFC 7348, section 5) with a VNI that no network has, then ours. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Optional

VNI = 0xFFFFFF
"""The last one: the registry never gives it out, and a kernel without it drops the packet unseen."""

MAGIC = b"mctlprb1"
ASK, ANSWER = 0, 1
IPV4, IPV6 = 20 + 8, 40 + 8
"""Bytes of the outer IP and UDP headers."""

_VXLAN = struct.pack("!II", 0x08000000, VNI << 8)
_OURS = struct.Struct("!8sB8sHd")
"""magic, kind, nonce, size of the whole IP packet that is asked with or answered, the sender's clock."""

LEAST = IPV6 + len(_VXLAN) + _OURS.size
"""Bytes of the smallest IP packet."""


@dataclass(frozen=True)
class Probe:
    """`clock` is time.time() of the sender."""

    kind: int
    nonce: bytes
    size: int
    clock: float


def encode(probe: Probe, length: int) -> bytes:
    """The UDP payload, filled up to `length` bytes."""
    return (_VXLAN + _OURS.pack(MAGIC, probe.kind, probe.nonce, probe.size, probe.clock)).ljust(length, b"\0")


def decode(payload: bytes) -> Optional[Probe]:
    """None for anything that is not ours."""
    if len(payload) < len(_VXLAN) + _OURS.size or payload[: len(_VXLAN)] != _VXLAN:
        return None
    magic, kind, nonce, size, clock = _OURS.unpack_from(payload, len(_VXLAN))
    return Probe(kind, nonce, size, clock) if magic == MAGIC else None
