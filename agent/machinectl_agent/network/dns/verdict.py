"""What the zone says to a question."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Tuple


class Verdict(enum.Enum):
    """What becomes of a question."""

    FOUND = "found"
    NO_DATA = "no data"
    """The name is there, but nothing of this kind: an AAAA of a container that has only IPv4."""
    NO_NAME = "no name"
    """It is ours to know, and there is none: an address of ours without an endpoint, or all of it withheld."""
    FORWARD = "forward"
    REFUSED = "refused"
    """Not ours, and this client's names may not leave the machine."""


@dataclass(frozen=True)
class Answer:
    """`values`: kind (A, AAAA or PTR) and address or name, in the order of the answer."""

    verdict: Verdict
    values: Tuple[Tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Found:
    """An endpoint that has a name, for whoever looks into the zone."""

    endpoint: str
    machine: str
    network: str
    """Id."""
    network_name: str
    name: str
    ip: str
    ip6: str
    withheld: bool
    """Its machine is dead: containers do not get it."""


@dataclass(frozen=True)
class Lookup:
    """`why` is empty where containers get an answer."""

    found: Tuple[Found, ...]
    why: str = ""
