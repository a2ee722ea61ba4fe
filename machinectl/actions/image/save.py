"""save: images of one machine, or of this computer's own docker, as one tar file here."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from machinectl.actions.image.packing import packed
from machinectl.actions.image.sending import Meter, Ways
from machinectl.actions.image.sources import Image, examine
from machinectl.actions.report import Report
from machinectl.errors import MachinectlError, UsageError
from machinectl.store.store import Store

BLOCK = 1024 * 1024


def save(
    store: Store, machine: str, names: Sequence[str], path: Path, ways: Ways, report: Report
) -> list[Image]:
    """`machine` empty: this computer's docker. The file is there whole and checked, or as it was before."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder", hint="name a file in it")
    with _beside(path) as file:
        meter = Meter(report, f"saving {', '.join(names)}")
        with packed(path, file) as stream:
            images = (
                _from_machine(store, machine, names, stream, ways, report, meter)
                if machine
                else _here(names, stream)
            )
        file.flush()
        os.fsync(file.fileno())
        _check(Path(file.name), images)
        os.chmod(file.name, 0o666 & ~_umask())  # noqa: PTH101 - as any file that is written here
        os.replace(file.name, path)  # noqa: PTH105 - both names are at hand
    return images


def _from_machine(
    store: Store,
    machine: str,
    names: Sequence[str],
    file: BinaryIO,
    ways: Ways,
    report: Report,
    meter: Meter,
) -> list[Image]:
    from machinectl.actions.carry import LocalSink, carry  # noqa: PLC0415 - not for this computer's own
    from machinectl.actions.image.sources import FromMachine  # noqa: PLC0415

    def consume(source: BinaryIO) -> dict[str, Any]:
        while part := source.read(BLOCK):
            file.write(part)
        return {}

    source = FromMachine(store, machine, names, ways.become)
    images = list(source.offer())
    carry(
        store,
        source.end(images, (), whole=True),
        LocalSink(consume),
        become=ways.become,
        progress=meter.add,
        report=report,
        compress=ways.compress,
        limit_rate=ways.limit_rate,
    )
    return images


def _here(names: Sequence[str], file: BinaryIO) -> list[Image]:
    from machinectl.actions.image.local_docker import FromHere  # noqa: PLC0415

    source = FromHere(names)
    images = list(source.offer())
    source.end(images, (), whole=True).produce(file)
    return images


def _check(path: Path, images: Sequence[Image]) -> None:
    """Everything that was asked for is in it, and whole. Raises `MachinectlError`."""
    try:
        archive = examine(path, verify=True)
    except UsageError as error:
        raise MachinectlError(
            "what came is no whole archive", why=error.why, problem="image-broken"
        ) from error
    layers = {one.layers for one in archive.images}
    for one in images:
        if one.layers not in layers:
            raise MachinectlError(f"{one.label} is not in what came", problem="image-broken")


@contextlib.contextmanager
def _beside(path: Path) -> Any:
    """A file that goes unless it has been given its name. Raises `UsageError`."""
    try:
        file = tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name[:100]}.", delete=False)  # noqa: SIM115 - below
    except OSError as error:
        raise UsageError(f"{path} can't be written", why=error.strerror or str(error)) from error
    try:
        with file:
            yield file
    finally:
        Path(file.name).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
