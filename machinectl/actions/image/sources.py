"""Where images are sent from: a machine, this computer's own docker, a tar file.

Each says what it has (`offer`), and gives the end of a carry that sends some of it without the layers that the other
side has.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from machinectl.actions.carry import LocalSource, MachineEnd
from machinectl.actions.image.ask import ask_images
from machinectl.errors import MachinectlError, UsageError
from machinectl.remote.become import Become
from machinectl.store.store import Store
from machinectl_agent.images.archive import Archive, ArchivedImage, read_archive, send_archive
from machinectl_agent.images.compressed import unpacked
from machinectl_agent.images.names import full
from machinectl_agent.images.tarfiles import BrokenArchive

SAVES = 3
"""At once, of one dockerd: each puts all layers into its folder for temporary files first."""


@dataclass(frozen=True)
class Image:
    """An image that is offered."""

    name: str
    """With its tag; empty: it has none."""
    id: str
    layers: tuple[str, ...]
    """Diff ids, the lowest first."""
    size: int
    """Bytes, unpacked."""
    architecture: str = ""
    likeness: str = ""
    """What compares images of different stores (machinectl_agent.images.likeness)."""

    def to_json(self) -> dict[str, Any]:
        """As the agent wants it."""
        return {
            "name": self.name,
            "id": self.id,
            "layers": list(self.layers),
            "likeness": self.likeness,
        }

    @property
    def label(self) -> str:
        return self.name or self.id[:19]


class Source(Protocol):
    """What `push` sends from."""

    label: str
    containerd: bool
    """It is in containerd's store: its layers are not known by their chain ids."""
    divisible: bool
    """Some of its images at a time cost no more than all at once."""
    turns: threading.Semaphore

    def offer(self) -> Sequence[Image]:
        """Raises `MachinectlError` before anything is sent: unknown image, broken archive."""

    def end(
        self, images: Sequence[Image], there: Collection[str], *, whole: bool
    ) -> MachineEnd | LocalSource:
        """For one destination, with these chain ids. `whole`: it has to be an archive as dockerd writes it."""


class FromMachine:
    """A machine's images, by their names."""

    divisible = True

    def __init__(self, store: Store, machine: str, names: Sequence[str], become: Become) -> None:
        self.label = self.machine = machine
        self.containerd = False
        self.turns = threading.Semaphore(SAVES)
        self._store = store
        self._names = names
        self._become = become

    def offer(self) -> Sequence[Image]:
        found = ask_images(
            self._store, self.machine, "describe", {"names": list(self._names)}, become=self._become
        )
        self.containerd = bool(found["containerd"])
        return [described(one) for one in found["images"]]

    def end(self, images: Sequence[Image], there: Collection[str], *, whole: bool) -> MachineEnd:
        args = {
            "names": [one.name or one.id for one in images],
            "there": sorted(there),
            "save": whole,
        }
        return MachineEnd(self.machine, "image", args)


class FromFile:
    """A tar file's: those with `names`, or all of them."""

    containerd = False
    divisible = True

    def __init__(self, path: Path, names: Sequence[str] = ()) -> None:
        self.label = str(path)
        self.turns = threading.Semaphore(64)
        self._path = path
        self._names = [full(one) for one in names]
        self._archive: Archive | None = None

    def offer(self) -> Sequence[Image]:
        """Reads all of the file."""
        archive = self._archive = examine(self._path, verify=True)
        with unpacked(self._path) as stream:
            # a compressed one would be unpacked each time
            self.divisible = stream.seekable()
        found = [image for one in archive.images for image in _archived(archive, one)]
        if not self._names:
            return found
        for name in self._names:
            if name not in (one.name for one in found):
                has = ", ".join(one.label for one in found)
                raise UsageError(f"{self._path} has no image {name}", why=f"it has {has}")
        return [one for one in found if one.name in self._names]

    def end(self, images: Sequence[Image], there: Collection[str], *, whole: bool) -> LocalSource:
        archive = self._archive
        assert archive is not None, "offer comes first"
        wanted = {one.id for one in images}
        chosen = [one for one in archive.images if whole or one.id in wanted]

        def produce(sink: BinaryIO) -> dict[str, Any]:
            try:
                with unpacked(self._path) as stream:
                    return dict(send_archive(stream, sink, archive, chosen, set(there)))
            except BrokenArchive as error:
                raise broken(self._path, error) from error

        return LocalSource(produce)


def examine(path: Path, *, verify: bool) -> Archive:
    """What is in a tar file. Raises `UsageError` for one that can't be used."""
    try:
        with unpacked(path) as stream:
            return read_archive(stream, verify=verify)
    except BrokenArchive as error:
        raise broken(path, error) from error
    except OSError as error:
        raise UsageError(f"{path} can't be read", why=error.strerror or str(error)) from error


def broken(path: Path, error: BrokenArchive) -> UsageError:
    return UsageError(
        f"{path} is no whole archive of images",
        why=str(error),
        hint="make it again: `docker save NAME -o FILE`, or `machinectl image save MACHINE:NAME FILE`",
        problem="image-broken",
    )


def described(one: dict[str, Any]) -> Image:
    """As the agent's `describe` and `docker image inspect` say it."""
    return Image(
        one["name"], one["id"], tuple(one["layers"]), int(one["size"]), one["architecture"], one["likeness"]
    )


def _archived(archive: Archive, one: ArchivedImage) -> list[Image]:
    size = sum(archive.sizes.get(archive.links.get(name, name), 0) for name in one.files)
    return [
        Image(full(tag) if tag else "", one.id, one.layers, size, one.architecture, one.likeness)
        for tag in one.tags or ("",)
    ]


def nothing_local(why: str) -> MachinectlError:
    """There is no docker here to send from."""
    return MachinectlError(
        "this computer has no docker to take the images from",
        why=why,
        hint="--from MACHINE takes them from a machine, --file FILE from a tar file",
        problem="no-local-docker",
    )
