"""etcd's key space in memory, for tests of what is built upon it: same semantics, one process, no watches.

What a real etcd does seldom can be asked for: an answer that is lost after the write (`lose(after=True)`) or before
it, and a write that a frozen member carries out much later (`delay`, `thaw`). It counts its calls.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from machinectl_agent.kv.interface import (
    DEADLINE,
    Compare,
    Delete,
    Get,
    KeyValue,
    KvUnavailable,
    LeaseGone,
    Operation,
    Page,
    Put,
    TxnResult,
    Watch,
)

LIMIT = 128
"""Operations in one transaction, as etcd's default --max-txn-ops."""


@dataclass(frozen=True)
class _Txn:
    compares: Sequence[Compare]
    then: Sequence[Operation]
    otherwise: Sequence[Operation]


class Space:
    """The keys, which several clients share."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.revision = 1
        self.keys: dict[str, KeyValue] = {}
        self.leases: set[int] = set()
        self.delayed: list[_Txn] = []

    def below(self, prefix: str) -> list[KeyValue]:
        return [self.keys[key] for key in sorted(self.keys) if key.startswith(prefix)]

    def save(self) -> dict[str, KeyValue]:
        return dict(self.keys)

    def restore(self, keys: dict[str, KeyValue]) -> None:
        """An older backup; revisions go back."""
        self.keys = dict(keys)
        self.revision = max((one.mod_revision for one in keys.values()), default=1)
        self.delayed.clear()

    def thaw(self, number: int = 0) -> None:
        """One of the delayed writes is carried out after all."""
        one = self.delayed.pop(number)
        self.txn(one)

    def txn(self, one: _Txn) -> TxnResult:
        with self.lock:
            self._check(one)
            ok = all(self._holds(compare) for compare in one.compares)
            operations = one.then if ok else one.otherwise
            if any(isinstance(operation, Put) or self._hits(operation) for operation in operations):
                self.revision += 1
            answers = tuple(self._do(operation) for operation in operations)
            return TxnResult(ok, self.revision, answers)

    def _hits(self, operation: Operation) -> bool:
        if not isinstance(operation, Delete):
            return False
        return bool(self.below(operation.key)) if operation.is_prefix else operation.key in self.keys

    def _check(self, one: _Txn) -> None:
        assert max(len(one.compares), len(one.then), len(one.otherwise)) <= LIMIT, "too many operations"
        for operations in (one.then, one.otherwise):
            puts = [operation.key for operation in operations if isinstance(operation, Put)]
            deletes = [operation for operation in operations if isinstance(operation, Delete)]
            assert len(puts) == len(set(puts)), "duplicate key given in txn request"
            for key in puts:
                hit = [
                    gone
                    for gone in deletes
                    if gone.key == key or (gone.is_prefix and key.startswith(gone.key))
                ]
                assert not hit, "duplicate key given in txn request"

    def _holds(self, compare: Compare) -> bool:
        found = self.below(compare.key) if compare.is_prefix else [self.keys.get(compare.key)]
        if not found or found == [None]:
            # etcd compares with a key of zeros; a value can't be compared with what is not there
            return compare.target != "value" and _relation(0, compare.operator, compare.wanted)
        fields = {"create": "create_revision", "mod": "mod_revision", "version": "version", "value": "value"}
        return all(
            _relation(getattr(one, fields[compare.target]), compare.operator, compare.wanted) for one in found
        )

    def _do(self, operation: Operation) -> tuple[KeyValue, ...]:
        if isinstance(operation, Put):
            before = self.keys.get(operation.key)
            self.keys[operation.key] = KeyValue(
                operation.key,
                operation.value,
                before.create_revision if before else self.revision,
                self.revision,
                before.version + 1 if before else 1,
                operation.lease,
            )
            return ()
        if isinstance(operation, Delete):
            for one in self.below(operation.key) if operation.is_prefix else [self.keys.get(operation.key)]:
                if one:
                    del self.keys[one.key]
            return ()
        found = self.below(operation.key) if operation.is_prefix else [self.keys.get(operation.key)]
        return tuple(one for one in found if one)


class KvMemory:
    """Kv. One client of a Space."""

    def __init__(self, space: Space | None = None) -> None:
        self.space = space or Space()
        self.calls: Counter[str] = Counter()
        self.read: list[str] = []
        """Prefixes that were read whole."""
        self.is_away = False
        self._losses: list[str] = []

    def lose(self, *kinds: str) -> None:
        """The answers of the next writes: `before` (not done), `after` (done), `late` (done when thawed)."""
        self._losses += kinds

    def get(self, key: str, *, deadline: float = DEADLINE) -> KeyValue | None:
        return next(iter(self._txn("get", _Txn([], [Get(key)], [])).answers[0]), None)

    def range(self, prefix: str, *, keys_only: bool = False, deadline: float = DEADLINE) -> Page:
        found = self._txn("range", _Txn([], [Get(prefix, is_prefix=True)], []))
        return Page(found.revision, found.answers[0])

    def put(self, key: str, value: bytes, *, lease: int = 0, deadline: float = DEADLINE) -> int:
        return self._txn("put", _Txn([], [Put(key, value, lease)], [])).revision

    def delete(self, key: str, *, is_prefix: bool = False, deadline: float = DEADLINE) -> int:
        with self.space.lock:
            count = len(self.space.below(key)) if is_prefix else int(key in self.space.keys)
            self._txn("delete", _Txn([], [Delete(key, is_prefix)], []))
            return count

    def txn(
        self,
        compares: Sequence[Compare],
        then: Sequence[Operation],
        otherwise: Sequence[Operation] = (),
        *,
        deadline: float = DEADLINE,
    ) -> TxnResult:
        return self._txn("txn", _Txn(list(compares), list(then), list(otherwise)))

    def grant(self, ttl: int, *, deadline: float = DEADLINE) -> int:
        self.space.leases.add(lease := len(self.space.leases) + 1)
        return lease

    def keep_alive(self, lease: int, *, deadline: float = DEADLINE) -> int:
        if lease not in self.space.leases:
            raise LeaseGone("the lease has ended")
        return 30

    def revoke(self, lease: int, *, deadline: float = DEADLINE) -> None:
        self.space.leases.discard(lease)
        for one in [one for one in self.space.keys.values() if one.lease == lease]:
            self.delete(one.key)

    def watch(self, prefixes: Sequence[str] = ()) -> Watch:
        raise NotImplementedError

    def close(self) -> None:
        pass

    def _txn(self, name: str, one: _Txn) -> TxnResult:
        self.calls[name] += 1
        if self.is_away:
            raise KvUnavailable("no endpoint answers")
        is_write = any(not isinstance(operation, Get) for operation in one.then)
        loss = self._losses.pop(0) if is_write and self._losses else ""
        if loss == "late":
            self.space.delayed.append(one)
        if loss == "after":
            self.space.txn(one)
        if loss:
            raise KvUnavailable("no answer in time")
        done = self.space.txn(one)
        operations = one.then if done.ok else one.otherwise
        self.read += [
            operation.key for operation in operations if isinstance(operation, Get) and operation.is_prefix
        ]
        return done


def _relation(have: int | bytes, operator: str, wanted: int | bytes) -> bool:
    if operator in "!=":
        return (have == wanted) == (operator == "=")
    assert type(have) is type(wanted)
    return have < wanted if operator == "<" else have > wanted  # type: ignore[operator]
