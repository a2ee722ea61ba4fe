"""volume backup and restore: contents into a file, here or on a machine, and back."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from machinectl.actions.carry import Carried, LocalSink, LocalSource, MachineEnd, carry
from machinectl.actions.report import Report
from machinectl.actions.volume.ask import ask_volumes
from machinectl.actions.volume.names import VolumeName
from machinectl.atomic import replacing
from machinectl.errors import MachinectlError, UsageError
from machinectl.remote.become import Become
from machinectl.store.store import Store
from machinectl_agent.volumes.compress import CHUNK, GZIP, ZSTD, Expander, has_zstd, kind_of
from machinectl_agent.volumes.stored import store_stream

KIND = "volume"
ENDINGS = {"zstd": ".tar.zst", "gzip": ".tar.gz", "none": ".tar"}

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Saved:
    """A backup that is whole."""

    file: str
    size: int
    """Bytes of the file."""
    sha256: str
    """Of the file."""
    entries: int
    bytes: int
    """Of the contents."""


@dataclass(frozen=True)
class Consistency:
    """What happens to the containers meanwhile: `pause`, `stop` or `live`; and after how many seconds without a byte
    they go on all the same."""

    action: str = "pause"
    stall: float = 60.0

    def to_args(self) -> dict[str, Any]:
        return {"action": self.action, "stall": self.stall}


def backup(
    store: Store,
    volume: VolumeName,
    file: str,
    *,
    compress: str = "",
    consistency: Consistency,
    become: Become,
    report: Report,
    progress: Progress | None = None,
) -> Saved:
    """`file`: a path here, MACHINE:/path, `-` for stdout. `compress`: zstd, gzip, none; empty: the best that there
    is."""
    here = ":" not in file.partition("/")[0]
    args = {
        "name": volume.name, "machine": volume.machine, "compress": compress, **consistency.to_args(),
        "reader_has_zstd": here and has_zstd(),
    }  # fmt: skip
    source = MachineEnd(volume.machine, KIND, args)
    if not here:
        target = VolumeName(*file.split(":", 1))
        if not target.is_path:
            raise UsageError(f"{file!r}: MACHINE:/path/of/a/file is wanted")
        sink: MachineEnd | LocalSink = MachineEnd(
            target.machine, KIND, {"file": target.name, "compress": compress}
        )
    elif file == "-":
        sink = LocalSink(lambda stream: _stored(stream, sys.stdout.buffer, compress))
    else:
        sink = LocalSink(lambda stream: _save(stream, Path(file).expanduser(), compress))
    done = carry(store, source, sink, become=become, report=report, progress=progress)
    return Saved(
        file,
        int(done.destination["size"]),
        str(done.destination["file_sha256"]),
        int(done.source["entries"]),
        int(done.source["bytes"]),
    )


def best_there_is(store: Store, volume: VolumeName, become: Become) -> str:
    """What a backup is compressed by where nobody says it."""
    if has_zstd() or ask_volumes(store, volume.machine, {"op": "programs"}, become=become)["zstd"]:
        return ZSTD
    return GZIP


def file_name(volume: VolumeName, compress: str) -> str:
    """For a backup that nobody gave a name: machine, volume, time (UTC)."""
    moment = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    name = volume.name.strip("/").replace("/", "-")
    return f"{volume.machine}-{name}-{moment}{ENDINGS[compress or ZSTD]}"


def restore(
    store: Store,
    file: str,
    volume: VolumeName,
    *,
    options: Mapping[str, Any],
    become: Become,
    report: Report,
    progress: Progress | None = None,
) -> Carried:
    """`options`: replace, stop, plain, with_options, as the agent's end has them."""
    destination = MachineEnd(volume.machine, KIND, {"name": volume.name, **options})
    if ":" in file.partition("/")[0]:
        machine, _, path = file.partition(":")
        source: MachineEnd | LocalSource = MachineEnd(machine, KIND, {"file": path})
    else:
        path = "/dev/stdin" if file == "-" else str(Path(file).expanduser())
        with _opened(path) as opened:
            beginning = opened.peek(4)[:4] if file != "-" else b""
        unpack = kind_of(beginning) == ZSTD and not _unpacks(store, volume.machine, become)
        source = LocalSource(lambda stream: _send(path, stream, unpack=unpack))
    return carry(store, source, destination, become=become, report=report, progress=progress)


def _unpacks(store: Store, machine: str, become: Become) -> bool:
    """Whether the machine has zstd; where it hasn't and we have, it is unpacked here."""
    return not has_zstd() or bool(ask_volumes(store, machine, {"op": "programs"}, become=become)["zstd"])


def _opened(path: str) -> Any:
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise MachinectlError(f"{path} can't be read", why=error.strerror or str(error)) from error


def _send(path: str, sink: BinaryIO, *, unpack: bool) -> dict[str, Any]:
    with _opened(path) as file:
        if unpack:
            expander = Expander(file)
            try:
                while part := expander.read():
                    sink.write(part)
            finally:
                expander.close()
        else:
            while part := file.read(CHUNK):
                sink.write(part)
    return {}


def _save(stream: BinaryIO, path: Path, compress: str) -> dict[str, Any]:
    """Whole or not at all."""
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}", hint=f"mkdir -p {path.parent}")
    with replacing(path) as file:
        return _stored(stream, file, compress)


def _stored(stream: BinaryIO, file: BinaryIO, compress: str) -> dict[str, Any]:
    digest, size = store_stream(stream, file, compress)
    file.flush()
    return {"size": size, "file_sha256": digest}
