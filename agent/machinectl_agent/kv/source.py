"""What a watch needs of an etcd client. `follow` does the rest, the same over every client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Protocol, Sequence, Tuple

from machinectl_agent.kv.interface import Page
from machinectl_agent.kv.wake import Wake


@dataclass(frozen=True)
class Position:
    """Where the store stands. After a restored backup the revision is lower, or the cluster another one, or the
    term of the election lower."""

    cluster: int
    term: int
    revision: int


@dataclass(frozen=True)
class Event:
    """`value` None: deleted."""

    key: str
    value: Optional[bytes]
    revision: int


@dataclass(frozen=True)
class Answer:
    """One message of the stream about one watch."""

    watch_id: int
    revision: int
    """The store's when it was sent."""
    created: bool = False
    cancelled: str = ""
    """Why the watch has ended; never empty if it has."""
    compacted: bool = False
    """It ended because the wanted revision is no longer kept."""
    events: Tuple[Event, ...] = ()


class Stream(Protocol):
    """Several watches on one connection to one member. Only `read` and `probe` may raise, KvError."""

    def read(self, wake: Wake, seconds: float) -> Sequence[Answer]:
        """Nothing: `wake` was set, or the time is over. Raises KvUnavailable when the stream has ended."""

    def probe(self) -> None:
        """Raises KvError if the member is frozen, gone or without a leader."""

    def close(self) -> None:
        """Ends it."""


class Source(Protocol):
    """Raises KvError everywhere."""

    def position(self, prefix: str) -> Position:
        """Linearizable. `prefix` is one that may be read. The next `open` goes to the member that answered."""

    def snapshot(self, prefix: str) -> Page:
        """Linearizable."""

    def open(self, starts: Sequence[Tuple[str, int]]) -> Stream:
        """Watches of prefixes, each from a revision on. They are created in this order, one Answer for each."""

    def close(self) -> None:
        """By any thread: whatever waits above ends with KvUnavailable."""
