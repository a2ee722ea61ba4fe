"""Layers straight from dockerd's folder: only those that are wanted are read. Classic store, overlay2.

`docker save` packs every layer of an image into a folder for temporary files before its first byte comes: seconds for
an image of 800 MB of which 20 kB are wanted, and as much disk. But dockerd keeps of each layer the headers of its tar
(tar-split.json.gz, since 1.10) and the files (overlay2/CACHE-ID/diff): together they are that very tar.

    image/overlay2/imagedb/content/sha256/ID        the image's configuration
    image/overlay2/layerdb/sha256/CHAIN/cache-id    the layer's folder
                                  …/tar-split.json.gz   {"type":2,"payload":…}  bytes of the tar as they are
                                                        {"type":1,"name":…,"size":…}  a file's content comes here

The destination's dockerd compares every layer with its diff id. Whatever is not as expected here is the problem
`layers-unreadable`, and dockerd is asked instead.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import stat
import tarfile
import zlib
from pathlib import Path
from typing import AbstractSet, Any, BinaryIO, Dict, Iterator, Mapping, Optional, Sequence, Set, Tuple

from machinectl_agent.images.chains import spared, stacked
from machinectl_agent.images.engine import is_containerd, layers
from machinectl_agent.images.tarfiles import BLOCK, add, finish, pad
from machinectl_agent.problems import Problem

DRIVER = "overlay2"
BLOBS = "blobs/sha256/"


class LayerDb:
    """Reads what dockerd has written, and nothing else."""

    def __init__(self, root: str) -> None:
        self._images = Path(root) / "image" / DRIVER
        self._layers = Path(root) / DRIVER

    def config(self, image_id: str) -> bytes:
        text = (self._images / "imagedb/content/sha256" / _hex(image_id)).read_bytes()
        if hashlib.sha256(text).hexdigest() != _hex(image_id):
            raise ValueError(f"the configuration of {image_id} has another SHA-256")
        return text

    def layer(self, chain_id: str) -> Layer:
        folder = self._images / "layerdb/sha256" / _hex(chain_id)
        cache = (folder / "cache-id").read_text().strip()
        if not cache.isalnum():
            raise ValueError(f"{cache!r} is no layer's folder")
        return Layer(folder / "tar-split.json.gz", self._layers / cache / "diff")


class Layer:
    """One layer's tar."""

    def __init__(self, recipe: Path, files: Path) -> None:
        self._recipe = recipe
        self._files = files

    def size(self) -> int:
        """Bytes; costs a look at the headers only."""
        return sum(len(text) + size for text, _, size in self._pieces())

    def write(self, sink: BinaryIO) -> int:
        written = 0
        root = os.open(self._files, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for text, name, size in self._pieces():
                if text:
                    sink.write(text)
                if size:
                    _copy(root, name, size, sink)
                written += len(text) + size
        finally:
            os.close(root)
        return written

    def _pieces(self) -> Iterator[Tuple[bytes, bytes, int]]:
        """Bytes as they are, or a file's name and how much of it."""
        with gzip.open(self._recipe, "rt", encoding="utf-8") as recipe:
            for line in recipe:
                entry = json.loads(line)
                if entry["type"] == 2:
                    yield base64.b64decode(entry.get("payload") or ""), b"", 0
                else:
                    raw = entry.get("name_raw")
                    name = base64.b64decode(raw) if raw else str(entry["name"]).encode()
                    yield b"", name, int(entry.get("size") or 0)


def find_layers(info: Mapping[str, Any]) -> Optional[LayerDb]:
    """`info`: dockerd's. None where it keeps them in another way."""
    root = str(info.get("DockerRootDir") or "")
    known = info.get("Driver") == DRIVER and not is_containerd(dict(info)) and os.path.isdir(root)  # noqa: PTH112
    return LayerDb(root) if known else None


def send_layers(
    db: LayerDb, images: Sequence[Tuple[str, Mapping[str, Any]]], there: AbstractSet[str], sink: BinaryIO
) -> Dict[str, int]:
    """An archive that `docker load` of every version reads. `images`: name (empty: none) and what dockerd says of it.
    As `send_saved`. Raises `Problem` `layers-unreadable`."""
    try:
        return _send(db, images, there, sink)
    except (OSError, EOFError, KeyError, ValueError, zlib.error) as error:
        raise Problem(
            "layers-unreadable", "dockerd's folder is not as expected", why=f"{type(error).__name__}: {error}"
        ) from error


def _send(
    db: LayerDb, images: Sequence[Tuple[str, Mapping[str, Any]]], there: AbstractSet[str], sink: BinaryIO
) -> Dict[str, int]:
    stacks = [layers(dict(image)) for _, image in images]
    out = spared(stacks, there)
    sent: Set[str] = set()
    written = 0
    for diff_ids in stacks:
        for diff_id, chain_id in stacked(diff_ids):
            if diff_id in out or diff_id in sent:
                continue
            sent.add(diff_id)
            written += _add_layer(db.layer(chain_id), BLOBS + _hex(diff_id), sink)
    rows: Dict[str, Dict[str, Any]] = {}
    for index, (name, image) in enumerate(images):
        config = BLOBS + _hex(image["Id"])
        if config not in rows:
            written += add(sink, config, db.config(image["Id"]))
            files = [BLOBS + _hex(one) for one in stacks[index]]
            rows[config] = {"Config": config, "RepoTags": [], "Layers": files}
        rows[config]["RepoTags"] += [name] if name else []
    written += add(sink, "manifest.json", json.dumps(list(rows.values())).encode())
    return {"bytes": written + finish(sink), "layers": len(sent), "spared": len(out)}


def _add_layer(layer: Layer, name: str, sink: BinaryIO) -> int:
    member = tarfile.TarInfo(name)
    member.size = layer.size()
    header = member.tobuf(tarfile.GNU_FORMAT)
    sink.write(header)
    if layer.write(sink) != member.size:
        raise ValueError(f"{name} changed while it was read")
    return len(header) + member.size + pad(sink, member.size)


def _copy(root: int, name: bytes, size: int, sink: BinaryIO) -> None:
    """No link is followed: one could lead out of the layer. Where a layer has such, dockerd is asked."""
    *folders, last = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in folders or last == b"..":
        raise ValueError(f"{name!r} leads out of its layer")
    held = os.dup(root)
    try:
        for part in folders:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=held)
            os.close(held)
            held = inner
        descriptor = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=held)
    finally:
        os.close(held)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size != size:
            raise ValueError(f"{name!r} has {found.st_size} bytes, not {size}")
        left = size
        while left:
            part = file.read(min(BLOCK, left))
            if not part:
                raise ValueError(f"{name!r} became shorter while it was read")
            sink.write(part)
            left -= len(part)


def _hex(digest: str) -> str:
    algorithm, _, text = digest.partition(":")
    if algorithm != "sha256" or len(text) != 64 or not text.isalnum():
        raise ValueError(f"{digest!r} is no SHA-256 digest")
    return text
