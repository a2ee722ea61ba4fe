"""Images that an inventory wants: the agent has asked for them in the middle of its apply."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from machinectl.actions.image.push import push_to
from machinectl.actions.image.sending import Ways
from machinectl.actions.image.sources import FromFile, FromMachine, Image, Source
from machinectl.actions.report import Report
from machinectl.errors import MachinectlError
from machinectl.model import Machine
from machinectl.remote.become import Become
from machinectl.store.paths import resolved_path
from machinectl.store.store import Store


class _Underway(Store):
    """A store that knows one machine as this run wants it: it is remembered only once its host is so."""

    def __init__(self, store: Store, machine: Machine) -> None:
        super().__init__(store.path)
        self._machine = machine

    def load(self, name: str) -> Machine:
        return self._machine if name == self._machine.name else super().load(name)


def preload(store: Store, machine: Machine, names: Sequence[str], become: Become, report: Report) -> None:
    """`names`: of `Machine.images`, all from one place (an id where there is no name)."""
    entries = [one for one in machine.images if (one["name"] or one["id"]) in names]
    file, origin = str(entries[0]["file"]), str(entries[0]["machine"])
    underway = _Underway(store, machine)
    if origin == machine.name:
        raise MachinectlError(
            f"{', '.join(names)} is not there, and the inventory says that it comes from this very machine",
            hint=f"`machinectl image push {','.join(names)} {machine.name}`",
            problem="image-unknown",
        )
    source: Source = (
        FromFile(Path(resolved_path(file, store.path)))
        if file
        else FromMachine(underway, origin, names, become)
    )
    images: Sequence[Image] = source.offer()
    if file:
        wanted = {(one["name"], one["id"]) for one in entries}
        images = [one for one in images if (one.name, one.id) in wanted]
        if len(images) < len(wanted):
            raise MachinectlError(
                f"{file} has changed: {', '.join(names)} is not in it any more, or is another image",
                hint="`machinectl apply` with the inventory reads it again",
                problem="image-unknown",
            )
    push_to(underway, source, images, machine.name, Ways(become), report)
