"""Entries of `docker context` for machines: made, kept right and removed with them.

A context is a user's (in their docker client's folder), a machine the store's: whose context it is stands in the
context itself, so that every user of a shared store has their own and no record need know of them.
"""

from __future__ import annotations

from pathlib import Path

from machinectl.errors import StoreError
from machinectl.model import Machine
from machinectl.store.docker_contexts import (
    Context,
    check_name,
    current_context,
    docker_folder,
    our_contexts,
    read_context,
    remove_context,
    write_context,
)
from machinectl.store.records import CONFIG, machine_folder
from machinectl.store.store import Store


def check_context(store: Store, machine: str, name: str) -> None:
    """That a context of that name can be made for the machine. Raises MachinectlError: docker takes no such name,
    or a context of the user's own or of another machine has it."""
    check_name(name)
    folder = docker_folder()
    found = read_context(folder, name)
    if not found or _is_of(found, store, machine) or not _alive(found):
        return
    other = found.machine if found.store == _place(store) else f"{found.machine} of the store {found.store}"
    raise StoreError(
        f'the docker context "{name}" is that of the machine {other}',
        hint="give this machine's another name: --context-name",
        machine=machine,
    )


def context_steps(store: Store, machine: Machine) -> tuple[str, ...]:
    """What `add_context` would do, for a plan. Raises MachinectlError, see `check_context`."""
    check_context(store, machine.name, machine.name)
    found = read_context(docker_folder(), machine.name)
    if not found:
        return (f"+ docker context {machine.name}",)
    return () if found == _wanted(store, machine, found.name) else (f"~ docker context {machine.name}",)


def add_context(store: Store, machine: Machine, name: str = "") -> bool:
    """Makes the machine's context, by default called as the machine, or brings it up to date; says whether anything
    has changed. Raises MachinectlError, see `check_context`."""
    name = name or machine.name
    with store.lock("docker-contexts"):
        check_context(store, machine.name, name)
        folder = docker_folder()
        return _write(store, machine, name, read_context(folder, name), folder)


def refresh_context(store: Store, machine: Machine) -> list[str]:
    """Brings the machine's contexts up to date, if it has any, after its address or certificates have changed. The
    names of those that were changed. Raises StoreError where one can't be written."""
    folder = docker_folder()
    mine = [one for one in our_contexts(folder) if _is_of(one, store, machine.name)]
    if not mine:
        return []
    with store.lock("docker-contexts"):
        return [one.name for one in mine if _write(store, machine, one.name, one, folder)]


def refresh_all_contexts(store: Store) -> None:
    """The same for all machines of the store, after the client's certificate has changed. A damaged record keeps no
    other machine's context from it."""
    for name in dict.fromkeys(one.machine for one in contexts_of(store)):
        try:
            machine = store.load(name)
        except StoreError:
            continue
        refresh_context(store, machine)


def remove_contexts(store: Store, machine: str) -> dict[str, bool]:
    """Removes the machine's contexts. Their names, and whether docker had one of them in use. Raises StoreError."""
    folder = docker_folder()
    with store.lock("docker-contexts"):
        mine = [one.name for one in our_contexts(folder) if _is_of(one, store, machine)]
        return {name: remove_context(folder, name) for name in mine}


def contexts_of(store: Store) -> list[Context]:
    """Those of this store's machines, by name."""
    return [one for one in our_contexts(docker_folder()) if one.store == _place(store)]


def current() -> str:
    """The context that docker uses; empty: its default."""
    return current_context(docker_folder())


def _write(store: Store, machine: Machine, name: str, present: Context | None, folder: Path) -> bool:
    wanted = _wanted(store, machine, name)
    if present == wanted:
        return False
    write_context(folder, wanted)
    return True


def _wanted(store: Store, machine: Machine, name: str) -> Context:
    keys = store.path / "machines" / machine.name
    try:
        ca, cert, key = ((keys / file).read_bytes() for file in ("ca.pem", "cert.pem", "key.pem"))
    except OSError as error:
        raise StoreError(
            "it has no certificates for a docker context",
            why=str(error),
            hint=f"machinectl provision {machine.name}",
            machine=machine.name,
        ) from error
    return Context(name, _place(store), machine.name, machine.url, (ca, cert, key))


def _is_of(context: Context, store: Store, machine: str) -> bool:
    return (context.store, context.machine) == (_place(store), machine)


def _alive(context: Context) -> bool:
    """Whether its machine is still there: a store that was moved, or removed by hand, leaves contexts behind."""
    return (Path(machine_folder(context.store, context.machine)) / CONFIG).exists()


def _place(store: Store) -> str:
    """Without links: one store may be reached by several paths."""
    return str(store.path.resolve())
