"""How all parts of the registry use etcd: transactions that are tried until their outcome is known.

A write whose answer was lost may have been done, may be done later (a frozen member that comes back sends on what it
had taken), or never. Two rules make each of these harmless:
  - what is written can be recognised (a token, the id of a network or an endpoint), so the next try finds out;
  - each transaction compares what it relies on, so one that comes late changes nothing any more, or makes something
    that its owner finds at its next collect and frees.
"""

from __future__ import annotations

import random
import time
from typing import Callable, Dict, Iterable, List, Optional, Sequence, TypeVar

from machinectl_agent.kv.interface import (
    Compare,
    Get,
    KeyValue,
    Kv,
    KvUnavailable,
    Operation,
    Page,
    TxnResult,
)
from machinectl_agent.network.records import Layout, decode
from machinectl_agent.network.registry.errors import Busy
from machinectl_agent.network.registry.memory import Memory

Result = TypeVar("Result")
Record = TypeVar("Record")

TRY = 2.5
"""Seconds for one try: an election is over by then, and a member that froze is given up in favour of the next."""

OPERATIONS = 100
"""In one transaction; etcd's default limit is 128."""

_PAUSE = 0.05
"""Seconds after a try without an answer, and the most after one that others overtook."""


class Store:
    """One machine's access. Safe in threads."""

    def __init__(
        self, kv: Kv, layout: Layout, machine: str, *, patience: float, clock: Callable[[], float]
    ) -> None:
        self.layout = layout
        self.machine = machine
        self.memory = Memory(clock)
        self.cluster = 0
        """Id of the cluster that carried out the last transaction."""
        self._kv = kv
        self._patience = patience

    def settle(self, step: Callable[[], Optional[Result]]) -> Result:
        """Repeats `step` until it returns something, `patience` seconds long. None: others were faster, look again.
        Raises KvUnavailable where the outcome stays unknown, Busy where others were always faster."""
        end = time.monotonic() + self._patience
        conflicts = 0
        while True:
            fault: Optional[KvUnavailable] = None
            try:
                found = step()
                if found is not None:
                    return found
                conflicts += 1
            except KvUnavailable as error:
                fault = error
            left = end - time.monotonic()
            if left <= 0 and (fault or conflicts > _LEAST_CONFLICTS):
                raise fault or Busy(
                    "others changed the same records again and again",
                    why=f"{conflicts} tries in {self._patience:.0f} s",
                    hint="try again",
                )
            pause = _PAUSE if fault else random.uniform(0, min(_PAUSE, conflicts * 0.002))  # noqa: S311 - no secret
            time.sleep(max(min(left, pause), 0))

    def patiently(self, read: Callable[[], Result]) -> Result:
        """Repeats what may be done twice, `patience` seconds long. Raises KvUnavailable."""
        return self.settle(lambda: (read(),))[0]

    def txn(
        self, compares: Sequence[Compare], then: Sequence[Operation], otherwise: Sequence[Operation] = ()
    ) -> TxnResult:
        done = self._kv.txn(compares, then, otherwise, deadline=TRY)
        self.cluster = done.cluster
        return done

    def get(self, key: str) -> Optional[KeyValue]:
        return self._kv.get(key, deadline=TRY)

    def range(self, prefix: str, *, keys_only: bool = False) -> Page:
        return self._kv.range(prefix, keys_only=keys_only)

    def read(self, keys: Iterable[str]) -> Dict[str, KeyValue]:
        """Those of the keys that exist, many in one round trip."""
        wanted = list(keys)
        found: Dict[str, KeyValue] = {}
        for first in range(0, len(wanted), OPERATIONS):
            answers = self.txn([], [Get(key) for key in wanted[first : first + OPERATIONS]]).answers
            found.update((one.key, one) for answer in answers for one in answer)
        return found

    def mark(self, key: str, machine: str = "") -> str:
        """The key that says that `key` is ours to free."""
        return self.layout.mark(machine or self.machine, key)


_LEAST_CONFLICTS = 10
"""With no patience at all, an overtaken try is still repeated a little: nothing is unknown about it."""


def missing(key: str) -> Compare:
    return Compare(key, "create", "=", 0)


def exists(key: str) -> Compare:
    return Compare(key, "create", "!=", 0)


def none_below(prefix: str) -> Compare:
    return Compare(prefix, "create", "=", 0, is_prefix=True)


def unchanged_below(prefix: str, revision: int) -> Compare:
    """Nothing was made or changed below the prefix since that revision (it may have been deleted)."""
    return Compare(prefix, "mod", "<", revision + 1, is_prefix=True)


def same(key: str, found: Optional[KeyValue]) -> Compare:
    """The key is as it was when it was read a moment ago."""
    return Compare(key, "mod", "=", found.mod_revision if found else 0)


def has_value(key: str, value: bytes) -> Compare:
    """The key is as it was written long ago. Revisions may come again after a restored backup, our tokens do not."""
    return Compare(key, "value", "=", value)


def first(answers: Sequence[Sequence[KeyValue]], number: int) -> Optional[KeyValue]:
    """What a Get of one key found."""
    return answers[number][0] if answers[number] else None


def parsed(shape: type[Record], found: Optional[KeyValue]) -> Optional[Record]:
    """None for no key, and for a value that is no such record."""
    if found is None:
        return None
    try:
        return decode(shape, found.value)
    except (ValueError, TypeError):
        return None


def parsed_all(shape: type[Record], items: Iterable[KeyValue]) -> List[Record]:
    """Those that are such records: one bad one must not take the others away."""
    return [record for record in (parsed(shape, one) for one in items) if record is not None]
