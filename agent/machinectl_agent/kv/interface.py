"""What a key-value store must do for us, and what it may raise. No I/O here.

Keys are text, values bytes. Every call has one total deadline, in seconds, over all endpoints that it
tries. Semantics are etcd's (https://etcd.io/docs/v3.5/learning/api/).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, Optional, Protocol, Sequence, Tuple, Union

DEADLINE = 5.0
"""Seconds for a call that says nothing else."""


class KvError(Exception):
    """Base of all; the text says what failed and why, without secrets."""


class KvUnavailable(KvError):
    """No endpoint answered in time, or the cluster has no leader. For a write: nobody knows whether it was
    done; a caller that must know writes a unique token and reads it back."""


class KvRefused(KvError):
    """etcd answered and refuses: no permission, bad certificate, quota exceeded, a malformed request."""


class KvCompacted(KvError):
    """The wanted revision is no longer kept."""


class LeaseGone(KvError):
    """The lease has ended or never was."""


@dataclass(frozen=True)
class KeyValue:
    """One key as it was at a revision."""

    key: str
    value: bytes
    create_revision: int = 0
    mod_revision: int = 0
    version: int = 0
    lease: int = 0


@dataclass(frozen=True)
class Page:
    """All keys with a prefix, sorted, as they were at `revision`."""

    revision: int
    items: Tuple[KeyValue, ...]


@dataclass(frozen=True)
class Compare:
    """A condition of a transaction on one key, or on all keys with a prefix (`is_prefix`, etcd 3.3 and later).

    `target` is `create`, `mod`, `version` (numbers) or `value` (bytes); `operator` is `=`, `!=`, `<`, `>`.
    `create = 0` means "does not exist", for a prefix "there is no such key".
    """

    key: str
    target: str
    operator: str
    wanted: Union[int, bytes]
    is_prefix: bool = False


@dataclass(frozen=True)
class Put:
    """Writes one key. `lease` 0: for ever."""

    key: str
    value: bytes
    lease: int = 0


@dataclass(frozen=True)
class Delete:
    """Deletes one key, or all with the prefix."""

    key: str
    is_prefix: bool = False


@dataclass(frozen=True)
class Get:
    """Reads one key, or all with the prefix, inside a transaction."""

    key: str
    is_prefix: bool = False


Operation = Union[Put, Delete, Get]


@dataclass(frozen=True)
class TxnResult:
    """`ok`: the conditions held and `then` was done, else `otherwise`. `answers` has one entry for each
    operation done: the keys that a Get found, nothing for the others."""

    ok: bool
    revision: int
    answers: Tuple[Tuple[KeyValue, ...], ...]
    cluster: int = 0
    """Id of the cluster that answered: another one after a restored backup. 0: not known."""


@dataclass(frozen=True)
class Snapshot:
    """Everything below one watched prefix: what was known before is void."""

    prefix: str
    revision: int
    items: Tuple[KeyValue, ...]
    cluster: int = 0
    """Id of the cluster that this comes from; 0: not known."""
    restored: bool = False
    """A backup was restored since what was said of this prefix before: this may be older than that."""


@dataclass(frozen=True)
class Change:
    """One key was put (`value` is set) or deleted (None). `revision` is that of the change."""

    prefix: str
    key: str
    value: Optional[bytes]
    revision: int


@dataclass(frozen=True)
class Trouble:
    """The watch has lost etcd (`text` says how), or has it back (empty). What was known stays as it is."""

    text: str


WatchItem = Union[Snapshot, Change, Trouble]


class Watch(Protocol):
    """Follows several prefixes on one connection and for ever: a lost connection, a restarted or frozen etcd and a
    compaction are dealt with inside. For each prefix first a Snapshot, then its Changes in order,
    none lost and none twice; after a compaction or a restored backup (the revision went back) a new
    Snapshot. `add`, `remove` and `close` may be called by any thread; one thread iterates."""

    def add(self, prefix: str) -> None:
        """Its Snapshot comes as soon as etcd answers; one that is watched already is left alone."""

    def remove(self, prefix: str) -> None:
        """Nothing more is said about it."""

    def close(self) -> None:
        """Ends the iteration soon, whatever it waits for."""

    def __iter__(self) -> Iterator[WatchItem]:
        """Until `close`. Never raises for a fault of etcd or the network."""


class Kv(Protocol):
    """A client; all methods may be called by several threads at once. Each may raise KvError's subclasses."""

    def get(self, key: str, *, deadline: float = DEADLINE) -> Optional[KeyValue]:
        """Linearizable."""

    def range(self, prefix: str, *, keys_only: bool = False, deadline: float = DEADLINE) -> Page:
        """All keys with the prefix at one revision, however many there are (read in pages)."""

    def put(self, key: str, value: bytes, *, lease: int = 0, deadline: float = DEADLINE) -> int:
        """The new revision."""

    def delete(self, key: str, *, is_prefix: bool = False, deadline: float = DEADLINE) -> int:
        """How many keys were deleted."""

    def txn(
        self,
        compares: Sequence[Compare],
        then: Sequence[Operation],
        otherwise: Sequence[Operation] = (),
        *,
        deadline: float = DEADLINE,
    ) -> TxnResult:
        """Never retried once it may have been done: see KvUnavailable."""

    def grant(self, ttl: int, *, deadline: float = DEADLINE) -> int:
        """The id of a new lease of `ttl` seconds."""

    def keep_alive(self, lease: int, *, deadline: float = DEADLINE) -> int:
        """Seconds that the lease has again. Raises LeaseGone."""

    def revoke(self, lease: int, *, deadline: float = DEADLINE) -> None:
        """No error where it is gone already."""

    def watch(self, prefixes: Sequence[str] = ()) -> Watch:
        """See Watch."""

    def close(self) -> None:
        """Closes connections; watches have to be closed apart."""
