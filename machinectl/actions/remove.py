"""remove: forget a machine. Its host is left as it is, Docker and containers included."""

from __future__ import annotations

from collections.abc import Callable

from machinectl.errors import StoreError
from machinectl.model import Machine
from machinectl.store.store import Store


def remove(
    store: Store, name: str, *, force: bool = False, first: Callable[[Machine], None] | None = None
) -> None:
    """Removes the record and the certificates of one machine.

    `first` is called with the machine before that (to take the agent off the host, say); its error ends the
    removal. A damaged record goes only with `force`. Raises MachineNotFound, LockedError (exit status 4)
    while a create or provision is at work on the machine.
    """
    with store.machine_lock(name):
        try:
            machine = store.load(name)
        except StoreError as error:
            if not force or error.problem == "machine-not-found":
                raise
        else:
            if first:
                first(machine)
        store.remove(name)
