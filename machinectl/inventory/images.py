"""The setting `images`: what the engine has, and where it comes from.

images:
  - busybox:1.36                            # the engine pulls it
  - {file: images/app.tar}                  # all that is in it
  - {name: app:1.2, file: images/app.tar}   # one of it
  - {name: app:1.2, from: node1}            # another machine's
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from machinectl.errors import InventoryError
from machinectl.inventory.entries import MACHINE
from machinectl.inventory.files import find_file
from machinectl.inventory.located import place_of
from machinectl.inventory.wish import ImageWish
from machinectl_agent.images.archive import Archive, read_archive
from machinectl_agent.images.compressed import unpacked
from machinectl_agent.images.names import NAME, full
from machinectl_agent.images.tarfiles import BrokenArchive

if TYPE_CHECKING:
    from machinectl.inventory.faults import Faults
    from machinectl.inventory.read import Host

KEYS = ("name", "file", "from")


def image_wishes(rows: Sequence[Any], host: Host, faults: Faults) -> tuple[ImageWish, ...]:
    """What is wrong with one of them goes to `faults`, with file and line."""
    found: dict[str, ImageWish] = {}
    for index, row in enumerate(rows):
        place = place_of(rows, index)
        with faults.kept():
            for one in _wishes(row, place, host):
                key = one.name or one.id
                if key in found:
                    raise InventoryError(f"{place}: the image {key} is there twice")
                found[key] = one
    return tuple(found.values())


def _wishes(row: Any, place: str, host: Host) -> list[ImageWish]:
    if isinstance(row, str):
        return [ImageWish(_name(row, place))]
    if not isinstance(row, dict):
        raise InventoryError(f"{place}: an image is a name, or a mapping with `name` and `file` or `from`")
    unknown = next((one for one in row if one not in KEYS), None)
    if unknown is not None:
        raise InventoryError(f"{place}: an image has no {unknown!r}", hint=f"there are {', '.join(KEYS)}")
    name = _name(row["name"], place) if row.get("name") is not None else ""
    file, machine = row.get("file"), row.get("from")
    if file is not None and machine is not None:
        raise InventoryError(f"{place}: an image comes from a file or from a machine, not both")
    if file is not None:
        return _of_file(find_file(str(file), "images", host.folders, place), name, place)
    if not name:
        raise InventoryError(f"{place}: the image's name is missing")
    if machine is None:
        return [ImageWish(name)]
    if not isinstance(machine, str) or not MACHINE.fullmatch(machine):
        raise InventoryError(f"{place}: `from` is a machine's name, not {machine!r}")
    return [ImageWish(name, machine=machine)]


def _name(value: Any, place: str) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise InventoryError(
            f"{place}: {value!r} is no name of an image", hint='a tag that is a number is written "app:1"'
        )
    return full(value)


def _of_file(path: Path, name: str, place: str) -> list[ImageWish]:
    try:
        status = path.stat()
        archive = _contents(path, status.st_mtime_ns, status.st_size)
    except BrokenArchive as error:
        raise InventoryError(f"{place}: {path} is no whole archive of images", why=str(error)) from error
    except OSError as error:
        raise InventoryError(f"{place}: {path} can't be read", why=error.strerror or str(error)) from error
    found = []
    for image in archive.images:
        size = sum(archive.sizes.get(archive.links.get(one, one), 0) for one in image.files)
        for tag in image.tags or ("",):
            wish = ImageWish(full(tag) if tag else "", image.id, image.likeness, size, file=str(path))
            if not name or wish.name == name:
                found.append(wish)
    if not found:
        has = ", ".join(tag for one in archive.images for tag in one.tags) or "none with a name"
        raise InventoryError(f"{place}: {path} has no image {name}", why=f"it has {has}")
    return found


@functools.lru_cache(maxsize=64)
def _contents(path: Path, _changed: int, _size: int) -> Archive:
    """Its list only: what is in the layers is checked before they are sent. Many hosts mean the same file."""
    with unpacked(path) as stream:
        return read_archive(stream)
