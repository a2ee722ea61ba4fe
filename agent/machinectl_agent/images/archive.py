"""A tar file of images, as `docker save` writes it or as an OCI layout: what is in it, is it whole, and its way out.

The file is opened again for each use: a compressed one can't be read twice from one stream.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from dataclasses import dataclass
from typing import AbstractSet, Any, BinaryIO, Dict, Mapping, Sequence, Set, Tuple

from machinectl_agent.images.chains import chain_ids
from machinectl_agent.images.layout import docker_manifest
from machinectl_agent.images.likeness import likeness
from machinectl_agent.images.tarfiles import BrokenArchive, Entry, add, copy, entries, finish

MANIFEST = "manifest.json"
KEPT = 64 * 1024 * 1024
"""Bytes of JSON in all; an archive with more of it is no image's."""


@dataclass(frozen=True)
class ArchivedImage:
    """One image of an archive."""

    id: str
    """The SHA-256 of its configuration: what the classic stores know it by."""
    tags: Tuple[str, ...]
    layers: Tuple[str, ...]
    """Diff ids, the lowest first."""
    config: str
    files: Tuple[str, ...]
    """Its and its layers' names in the archive."""
    architecture: str = ""
    likeness: str = ""
    """See likeness.py."""


@dataclass(frozen=True)
class Archive:
    """All images of an archive."""

    images: Tuple[ArchivedImage, ...]
    sizes: Mapping[str, int]
    """Layer's file → bytes."""
    links: Mapping[str, str]
    """Old archives have a layer once, and links to it."""
    bare: bool = False
    """An OCI layout without a manifest.json."""

    def left_out(self, images: Sequence[ArchivedImage], there: AbstractSet[str]) -> Set[str]:
        """Layers' files that an engine with these layers (chain ids) does not open for `images`. Pure."""
        needed: Set[str] = set()
        for image in images:
            for index, chain in enumerate(chain_ids(image.layers)):
                if chain not in there:
                    name = image.files[index]
                    needed.update((name, self.links.get(name, name)))
        return {name for image in self.images for name in image.files} - needed

    def missing_bytes(self, images: Sequence[ArchivedImage], there: AbstractSet[str]) -> int:
        """What travels of the layers. Pure."""
        out = self.left_out(images, there)
        return sum(size for name, size in self.sizes.items() if name not in out)


def read_archive(source: BinaryIO, *, verify: bool = False) -> Archive:
    """`verify`: every byte is read and compared with what the archive says of it. Raises `BrokenArchive`."""
    seen = _Seen()
    for entry in entries(source):
        seen.add(entry, verify=verify)
    try:
        return _archive(seen, verify=verify)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BrokenArchive(f"its manifest makes no sense ({type(error).__name__}: {error})") from error


def send_archive(
    source: BinaryIO,
    sink: BinaryIO,
    archive: Archive,
    images: Sequence[ArchivedImage],
    there: AbstractSet[str],
) -> Dict[str, int]:
    """Some of its images, or all, without the layers that are `there` (chain ids). As `send_saved`."""
    out = archive.left_out(images, there)
    layers = {name for image in images for name in image.files if name not in archive.links}
    rewritten = archive.bare or len(images) < len(archive.images)
    unwanted = out | {MANIFEST} if rewritten else out
    written = copy(source, sink, lambda entry: entry.name not in unwanted)
    if rewritten:
        rows = [
            {"Config": one.config, "RepoTags": list(one.tags), "Layers": list(one.files)} for one in images
        ]
        written += add(sink, MANIFEST, json.dumps(rows).encode())
    return {"bytes": written + finish(sink), "layers": len(layers - out), "spared": len(layers & out)}


class _Seen:
    """What has passed: small files whole, of the others size and digest."""

    def __init__(self) -> None:
        self.small: Dict[str, bytes] = {}
        self.sizes: Dict[str, int] = {}
        self.links: Dict[str, str] = {}
        self.digests: Dict[str, str] = {}
        self._kept = 0

    def add(self, entry: Entry, *, verify: bool) -> None:
        member = entry.member
        if member.issym():
            folder = posixpath.dirname(entry.name)
            self.links[entry.name] = posixpath.normpath(posixpath.join(folder, member.linkname))
        elif member.isreg():
            self.sizes[entry.name] = member.size
            # a layer is a tar, mostly compressed, and begins otherwise
            if entry.small and entry.content()[:1] in (b"{", b"["):
                self._kept += member.size
                if self._kept > KEPT:
                    raise BrokenArchive("it holds thousands of JSON files: it is no image's")
                self.small[entry.name] = entry.content()
            if verify:
                digest = hashlib.sha256()
                for part in entry.parts():
                    digest.update(part)
                self.digests[entry.name] = digest.hexdigest()

    def read(self, name: str) -> bytes:
        if name not in self.small:
            raise BrokenArchive(f"{name} is missing in it")
        return self.small[name]


def _archive(seen: _Seen, *, verify: bool) -> Archive:
    if MANIFEST in seen.small:
        rows = json.loads(seen.small[MANIFEST])
    elif "index.json" in seen.small:
        rows = docker_manifest(seen.read)
    else:
        raise BrokenArchive("it has neither a manifest.json nor an index.json: it is no image's")
    if not rows:
        raise BrokenArchive("it holds no image")
    images = tuple(_image(one, seen) for one in rows)
    files = {name for one in images for name in one.files}
    for name in sorted(files):
        if seen.links.get(name, name) not in seen.sizes:
            raise BrokenArchive(f"the layer {name} is missing in it")
    if verify:
        _verify(images, seen)
    sizes = {name: seen.sizes[name] for name in files if name in seen.sizes}
    links = {name: target for name, target in seen.links.items() if name in files}
    return Archive(images, sizes, links, MANIFEST not in seen.small)


def _image(row: Mapping[str, Any], seen: _Seen) -> ArchivedImage:
    name = str(row["Config"])
    text = seen.read(name)
    digest = hashlib.sha256(text).hexdigest()
    named = posixpath.basename(name).partition(".")[0]
    if len(named) == 64 and named != digest:
        raise BrokenArchive(f"{name} is damaged: its SHA-256 is {digest}")
    config = json.loads(text)
    layers = tuple(str(one) for one in config["rootfs"].get("diff_ids") or ())
    files = tuple(str(one) for one in row.get("Layers") or ())
    if len(layers) != len(files):
        raise BrokenArchive(f"an image of {len(layers)} layers comes with {len(files)} of them")
    tags = tuple(str(one) for one in row.get("RepoTags") or ())
    like = likeness(config.get("created"), config.get("config"), layers)
    return ArchivedImage(
        f"sha256:{digest}", tags, layers, name, files, str(config.get("architecture", "")), like
    )


def _verify(images: Sequence[ArchivedImage], seen: _Seen) -> None:
    for image in images:
        for index, name in enumerate(image.files):
            diff_id = image.layers[index]
            digest = seen.digests[seen.links.get(name, name)]
            # a compressed layer is named by what it is as a file
            if digest not in (diff_id[len("sha256:") :], posixpath.basename(name)):
                raise BrokenArchive(f"the layer {name} is damaged: its SHA-256 is {digest}")
