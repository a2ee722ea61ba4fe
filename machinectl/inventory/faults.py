"""All that is wrong with an inventory, said at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from machinectl.errors import InventoryError


class Faults:
    """Collects errors; what is wrong in a group is wrong for each of its hosts, and said once."""

    def __init__(self) -> None:
        self._found: dict[str, InventoryError] = {}

    @contextmanager
    def kept(self) -> Iterator[None]:
        """An `InventoryError` of the block is kept, and the next thing is looked at."""
        try:
            yield
        except InventoryError as error:
            self._found.setdefault(str(error), error)

    def raise_all(self) -> None:
        if len(self._found) == 1:
            raise next(iter(self._found.values()))
        if self._found:
            # each begins as one alone does
            raise InventoryError("\nerror: ".join(self._found))
