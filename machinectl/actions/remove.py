"""remove: forget a machine. Its host is left as it is, Docker and containers included."""

from __future__ import annotations

from collections.abc import Callable

from machinectl.actions.context import remove_contexts
from machinectl.errors import AgentFailed, MachinectlError, StoreError
from machinectl.model import Machine
from machinectl.store.store import Store


def remove(
    store: Store, name: str, *, force: bool = False, first: Callable[[Machine], None] | None = None
) -> dict[str, bool]:
    """Removes the record, the certificates and the `docker context` entries of one machine. The entries' names, and
    whether docker had one of them in use.

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
    return remove_contexts(store, name)


def forget_member(store: Store, machine: Machine, say: Callable[[str], None]) -> None:
    """What a member that is dead has in etcd is freed by another one; one that is alive stays what it is. Nothing
    here keeps a machine from being removed: `say` gets what is left to do."""
    from machinectl.actions.network.membership import is_member  # noqa: PLC0415 - loads nothing that is slow

    if not is_member(machine):
        return
    from machinectl.actions.network.networks import forget_machine  # noqa: PLC0415 - loads SSH
    from machinectl.remote.become import Become  # noqa: PLC0415

    name = machine.name
    try:
        freed = forget_machine(store, name, become=Become(), quiet=True)
    except AgentFailed as error:
        if error.problem == "machine-alive":
            say(
                f"{name} is alive and stays a member of the networks, with its containers' addresses; "
                f"`machinectl network forget {name}` once it is gone for good"
            )
        elif error.problem != "no-such-machine":
            say(
                f"the networks have not forgotten {name}: {error}; `machinectl network forget {name}` does it"
            )
    except MachinectlError as error:
        say(
            f"the networks have not forgotten {name}: {error.what}; `machinectl network forget {name}` does it"
        )
    else:
        say(
            f"the networks have forgotten {name}: "
            f"{freed['endpoints']} endpoints and {freed['addresses']} addresses are free again"
        )
