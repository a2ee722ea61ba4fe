"""Work that is asked for more often than it has to be done: equal items wait only once."""

from __future__ import annotations

import threading
from typing import Callable, Dict, Generic, Hashable, TypeVar

from machinectl_agent.daemon.journal import Journal

Item = TypeVar("Item", bound=Hashable)


class Worker(Generic[Item]):
    """One thread that does `work(item)` for each item, in the order of their coming. An item that comes while
    it waits is the same item; one that comes while it is being done is done again."""

    def __init__(self, name: str, work: Callable[[Item], None], journal: Journal) -> None:
        self._work = work
        self._journal = journal
        self._name = name
        self._waiting: Dict[Item, None] = {}
        self._changed = threading.Condition()
        self.busy = False

    def start(self) -> None:
        threading.Thread(target=self.run, name=self._name, daemon=True).start()

    def put(self, item: Item) -> None:
        with self._changed:
            self._waiting[item] = None
            self._changed.notify_all()

    def run(self) -> None:
        """For ever. A fault with one item is told and ends nothing."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting))
                item = next(iter(self._waiting))
                del self._waiting[item]
                self.busy = True
            try:
                self._work(item)
            except Exception as error:
                self._journal.say("error", f"{self._name}: {item}: {error!r}")
            finally:
                with self._changed:
                    self.busy = False
                    self._changed.notify_all()

    def wait_idle(self, deadline: float) -> bool:
        """Until nothing waits and nothing is being done."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self.busy, deadline)
