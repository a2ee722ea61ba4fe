"""create: from a bare host to a machine in the store. The whole story is `create` itself."""

from __future__ import annotations

from machinectl.actions.context import add_context, check_context
from machinectl.actions.converge import Options, converge, preview
from machinectl.actions.once import Once
from machinectl.actions.report import Report
from machinectl.actions.wishes import admit
from machinectl.errors import MachineNotFound, StoreError
from machinectl.model import Machine
from machinectl.remote.become import Become
from machinectl.store.store import Store


def create(
    store: Store,
    wanted: Machine,
    *,
    become: Become,
    report: Report,
    dry_run: bool = False,
    replace_host_key: bool = False,
    take_over: bool = False,
    share: bool = False,
    context: str = "",
) -> None:
    """Makes the host a machine, finishes an earlier create, or finds nothing to do.

    `share`: another store may own the host already, both use it then.
    `context`: the name of an entry of `docker context` for it; empty: none is made.

    Raises `MachineExists` (exit 1) before anything changes, `LockedError` (exit 4) while another run is at
    work on the machine, and whatever `converge` raises.
    """
    with store.machine_lock(wanted.name):
        with store.lock():
            if context:
                check_context(store, wanted.name, context)
            machine = admit(_present(store, wanted.name), wanted, _others(store, wanted.name))
        options: Options = {
            "become": become,
            "report": report,
            "replace_host_key": replace_host_key,
            "take_over": take_over,
        }
        if dry_run:
            print(preview(store, machine, **options, once=Once(share=share)))
            return
        machine = converge(store, machine, **options, once=Once(share=share))
        if context:
            add_context(store, machine, context)
    if context:
        report.line(f"to use it: docker --context {context} info")
    report.line(f'to use it: eval "$(machinectl env {machine.name})"')


def _present(store: Store, name: str) -> Machine | None:
    try:
        return store.load(name)
    except MachineNotFound:
        return None


def _others(store: Store, name: str) -> list[Machine]:
    """Machines whose record is damaged can't be compared; `ls` shows them."""
    others = []
    for other in store.names():
        if other != name:
            try:
                others.append(store.load(other))
            except StoreError:
                continue
    return others
