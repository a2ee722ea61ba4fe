"""A watch that goes on for ever: what is known of each prefix, and what to do when the stream breaks.

One thread iterates and does all the work. In each round: where does the store stand (went back: everything
known is void), a Snapshot of each prefix that has none, a stream from the revisions that are known, and
that is read until it breaks or the prefixes change. Nothing is lost and nothing comes twice because a
prefix's revision moves on only after all its changes of that revision were handed out.
"""

from __future__ import annotations

import random
import threading
import time
from typing import Dict, Iterator, Optional, Sequence

from machinectl_agent.kv.interface import (
    Change,
    KvError,
    KvRefused,
    KvUnavailable,
    Snapshot,
    Trouble,
    WatchItem,
)
from machinectl_agent.kv.source import Answer, Position, Source, Stream
from machinectl_agent.kv.wake import Wake

SILENCE = 10.0
"""Seconds without a word after which the member is asked whether it lives."""
_OPENING = 5.0  # seconds for all watches of a stream to be created,
_EACH = 0.01  # and for each of them
# seconds that a stream is read before it gives way to one with other prefixes: if they change all the time,
# what is said of the rest must be heard, too
_SHORTEST = 0.05
_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_STEADY = 5.0  # seconds that a stream must have lived for the next pause to begin small again


class _Followed:
    """A prefix. Removed and added again it is another one."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.revision: Optional[int] = None
        """Handed out up to here; None: a Snapshot is due."""
        self.restored = False
        """The store went back since its last Snapshot."""


class _Watches:
    """Which watch of a stream is which prefix's: etcd creates them in the order that they were asked for in."""

    def __init__(self, wanted: Sequence[_Followed]) -> None:
        self._wanted = wanted
        self._known = max(one.revision or 0 for one in wanted)
        self._began = time.monotonic()
        self._created = 0
        self.by_id: Dict[int, _Followed] = {}

    @property
    def are_complete(self) -> bool:
        return self._created == len(self._wanted)

    def take(self, answer: Answer) -> bool:
        """True: that was the last one."""
        if answer.revision < self._known:
            raise KvUnavailable("the member of etcd is behind what is known already")
        self.by_id[answer.watch_id] = self._wanted[self._created]
        self._created += 1
        if self.are_complete:
            self._began = time.monotonic()
        return self.are_complete

    def patience(self, *, changed: bool) -> float:
        """Seconds to wait for the next answer; none left: they don't come about, or have to give way."""
        if not self.are_complete:
            return self._began + _OPENING + len(self._wanted) * _EACH - time.monotonic()
        return self._began + _SHORTEST - time.monotonic() if changed else SILENCE


class Follower:
    """Watch, see there. Iterated again, it goes on where it was."""

    def __init__(self, source: Source, prefixes: Sequence[str] = ()) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._wanted: Dict[str, _Followed] = {one: _Followed(one) for one in prefixes}
        self._changed = False
        self._closed = False
        self._wake = Wake()
        self._position: Optional[Position] = None
        self._items = self._run()

    def add(self, prefix: str) -> None:
        with self._lock:
            if prefix in self._wanted or self._closed:
                return
            self._wanted[prefix] = _Followed(prefix)
            self._changed = True
        self._wake.set()

    def remove(self, prefix: str) -> None:
        with self._lock:
            if self._wanted.pop(prefix, None) is None:
                return
            self._changed = True
        self._wake.set()

    def close(self) -> None:
        with self._lock:
            self._closed = True
        self._wake.set()
        self._source.close()

    def __iter__(self) -> Iterator[WatchItem]:
        return self._items

    def _run(self) -> Iterator[WatchItem]:
        trouble, pause = "", 0.0
        try:
            while not self._closed:
                opened, lost = 0.0, ""
                try:
                    for item in self._follow():
                        if item is None:
                            opened = time.monotonic()
                            if trouble:
                                trouble = ""
                                yield Trouble("")
                        else:
                            yield item
                except KvError as error:
                    lost = str(error)
                if self._closed:
                    return
                if not lost or (opened and time.monotonic() - opened > _STEADY):
                    pause = 0.0  # reopened on purpose, or another member takes over at once
                    continue
                if not opened and lost != trouble:
                    trouble = lost
                    yield Trouble(lost)
                pause = min(_LONGEST_PAUSE, pause * 2 or _PAUSE)
                self._wake.wait(pause * random.uniform(0.75, 1.25))  # noqa: S311 - no secret
                self._wake.clear()
        finally:
            self._source.close()
            self._wake.close()

    def _follow(self) -> Iterator[Optional[WatchItem]]:
        """One stream until the prefixes change. None says that it is open."""
        self._wake.clear()  # before the look at what it stands for: a `set` that comes now counts for the wait
        with self._lock:
            if self._closed:
                return
            self._changed = False
            wanted = list(self._wanted.values())
        if not wanted:
            self._wake.wait(None)
            return
        self._look_back(wanted)
        for one in wanted:
            if one.revision is None and self._is_wanted(one):
                page = self._source.snapshot(one.prefix)
                if self._is_wanted(one):
                    one.revision = page.revision
                    restored, one.restored = one.restored, False
                    cluster = self._position.cluster if self._position else 0
                    yield Snapshot(one.prefix, page.revision, page.items, cluster, restored)
        wanted = [one for one in wanted if one.revision is not None]
        if not wanted:
            return  # all of them were removed meanwhile
        stream = self._source.open([(one.prefix, (one.revision or 0) + 1) for one in wanted])
        try:
            yield from self._read(stream, wanted)
        finally:
            stream.close()

    def _look_back(self, wanted: Sequence[_Followed]) -> None:
        """A store that stands before what we know was restored from a backup."""
        position = self._source.position(wanted[0].prefix)
        before, self._position = self._position, position
        if before is None:
            return
        known = max(before.revision, *(one.revision or 0 for one in wanted))
        if position.revision < known or position.cluster != before.cluster or position.term < before.term:
            for one in wanted:
                one.restored = one.restored or one.revision is not None
                one.revision = None

    def _read(self, stream: Stream, wanted: Sequence[_Followed]) -> Iterator[Optional[WatchItem]]:
        watches = _Watches(wanted)
        heard = time.monotonic()
        while not self._closed:
            patience = watches.patience(changed=self._changed)
            if patience <= 0 and watches.are_complete:
                return
            answers = stream.read(self._wake, max(0.0, patience))
            if not answers:
                self._wake.clear()
            for answer in answers:
                heard = time.monotonic()
                if answer.created and watches.take(answer):
                    yield None
                followed = watches.by_id.get(answer.watch_id)
                if answer.cancelled:
                    self._end(answer, followed)
                elif followed and not answer.created:
                    yield from self._hand_out(answer, followed)
            if patience <= 0 and not watches.are_complete:
                raise KvUnavailable("etcd does not begin to watch in time")
            if time.monotonic() - heard >= SILENCE:
                stream.probe()
                heard = time.monotonic()

    def _end(self, answer: Answer, followed: Optional[_Followed]) -> None:
        """A watch that a compaction has overtaken begins again, with a Snapshot."""
        if not answer.compacted:
            raise KvRefused(f"etcd ends the watch: {answer.cancelled}")
        with self._lock:
            self._changed = True
            if followed:
                followed.revision = None

    def _hand_out(self, answer: Answer, followed: _Followed) -> Iterator[WatchItem]:
        known = followed.revision
        if known is None:
            return
        for event in answer.events:
            if event.revision > known and self._is_wanted(followed):
                yield Change(followed.prefix, event.key, event.value, event.revision)
        # the header's revision is ahead while old events are still being sent; in a progress notice it is not
        last = answer.events[-1].revision if answer.events else answer.revision
        followed.revision = max(known, last)

    def _is_wanted(self, followed: _Followed) -> bool:
        return self._wanted.get(followed.prefix) is followed and not self._closed
