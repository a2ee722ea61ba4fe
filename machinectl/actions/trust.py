"""trust: which stores' CAs a machine's engine takes clients of; taking one out again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from machinectl.actions.converge import bring, connect
from machinectl.actions.fleet import Outcome, on_each
from machinectl.actions.once import Once
from machinectl.actions.report import Report
from machinectl.actions.shared import look, own_authority, read_files
from machinectl.errors import MachinectlError
from machinectl.model import Machine
from machinectl.pki.pem_files import read_pem
from machinectl.pki.shared import Trusted, blocks, describe, identity
from machinectl.remote.become import Become
from machinectl.store.store import Store


def list_trusted(store: Store, names: Sequence[str], *, become: Become) -> list[Outcome[list[Trusted]]]:
    """Every machine's, as its host has it now."""
    for name in names:
        store.load(name)

    def one(name: str) -> list[Trusted]:
        with connect(store, store.load(name), become, Report(name, quiet=True)) as connection:
            ca, server = read_files(connection)
        return describe(ca, server, own_authority(store, name))

    return on_each(names, one)


def distrust(
    store: Store,
    name: str,
    wanted: Sequence[str],
    *,
    become: Become,
    quiet: bool = False,
    confirm: Callable[[list[Trusted]], bool],
) -> list[Trusted]:
    """Takes CAs out by identity, its beginning, or name; gives those that are out, none where `confirm` said no.

    Where one of them has signed the server's certificate, this store's takes its place. Raises `MachinectlError`
    where one is not known, or is this store's own.
    """
    report = Report(name, quiet=quiet)
    with store.machine_lock(name):
        machine = store.load(name)
        chosen = _choose(_known(store, name), wanted)
        if len(chosen) < len(set(wanted)):
            with connect(store, machine, become, report) as connection:
                look(connection, store, machine, keep=True)
            chosen = _choose(_known(store, name), wanted)
        _check(machine, chosen, wanted)
        if not confirm([one for _, one in chosen]):
            return []
        bring(
            store,
            machine,
            become=become,
            report=report,
            once=Once(removed=tuple(pem.decode() for pem, _ in chosen)),
        )
    return [one for _, one in chosen]


def _known(store: Store, name: str) -> list[tuple[bytes, Trusted]]:
    """PEM and description of what this store knows to be trusted on the machine."""
    ca = read_pem(store.path / "machines" / name / "ca.pem")
    described = describe(ca, b"", own_authority(store, name))
    return list(zip(blocks(ca), described, strict=True))


def _choose(known: list[tuple[bytes, Trusted]], wanted: Sequence[str]) -> list[tuple[bytes, Trusted]]:
    return [(pem, one) for pem, one in known if any(_is(pem, one, word) for word in wanted)]


def _is(pem: bytes, one: Trusted, word: str) -> bool:
    return word == one.name or (len(word) >= 4 and identity(pem).startswith(word.lower()))


def _check(machine: Machine, chosen: list[tuple[bytes, Trusted]], wanted: Sequence[str]) -> None:
    for word in wanted:
        if not any(_is(pem, one, word) for pem, one in chosen):
            raise MachinectlError(
                f"its engine trusts no CA {word!r}",
                hint=f"machinectl trust ls {machine.name}",
                machine=machine.name,
                problem="ca-unknown",
            )
    if any(one.own for _, one in chosen):
        raise MachinectlError(
            "that is this store's own CA: without it the machine could not be reached from here",
            hint=f"another store takes it out; `machinectl rm {machine.name}` forgets the machine here",
            machine=machine.name,
            problem="ca-own",
        )
