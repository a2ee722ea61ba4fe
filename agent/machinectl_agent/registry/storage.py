"""The folder of a registry's images: whether it may be one, how it becomes the registry's, what goes with a purge.

It is ours only for what a registry makes in it; other people's files and Docker's own data are never touched.
"""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Sequence, Tuple

from machinectl_agent.host import Host
from machinectl_agent.problems import Problem
from machinectl_agent.registry import sources
from machinectl_agent.volumes import docker
from machinectl_agent.volumes.place import SYSTEM

FORBIDDEN = ("/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/etc", "/usr", "/boot", "/opt/machinectl")  # noqa: S108 - that they are refused
PLACE = re.compile(r"(/[A-Za-z0-9._+@-]+){2,}")
IMAGES = "docker/registry"
SCHEDULE = "scheduler-state.json"
"""A mirror's: what it forgets when."""
FRESH_DISK = "lost+found"
ENGINE_ROOTS = ("/var/lib/docker", "/var/lib/containerd")
DEADLINE = 1800.0


@dataclass(frozen=True)
class Folder:
    """As it is on this machine."""

    real: str
    """Links followed."""
    owned: bool = False
    """It is there, and the registry's user may write into it."""
    foreign: str = ""
    """The first thing in it that no registry makes; empty: none."""
    has_images: bool = False


def look(host: Host, place: str, account: str) -> Folder:
    """`account`: USER:GROUP of the registry as numbers; empty: it is not there yet."""
    path = host.path(place)
    real = posixpath.join("/", os.path.relpath(os.path.realpath(path), os.path.realpath(host.root)))
    try:
        owned = str(path.stat().st_uid) == account.partition(":")[0]
    except OSError:
        return Folder(real)
    images = any(host.exists(f"{place}/{one}") for one in (IMAGES, SCHEDULE))
    return Folder(real, owned, _foreign(host, place), images)


def _foreign(host: Host, place: str) -> str:
    if not host.path(place).is_dir():
        return place
    for name in host.names(place):
        path = host.path(f"{place}/{name}")
        if name == "docker" and path.is_dir() and not path.is_symlink():
            below = [one for one in host.names(f"{place}/docker") if one != "registry"]
            if below:
                return f"{place}/docker/{below[0]}"
        elif name not in (SCHEDULE, FRESH_DISK):
            return f"{place}/{name}"
    return ""


def engine_roots(host: Host) -> Tuple[str, ...]:
    """Where dockerd has its data, or would have them; as they are named, and links followed."""
    try:
        root = docker.data_root()
    except Problem:  # it does not run, or is not there
        root = str(sources.options(host).get("data-root") or "")
    named = [one.rstrip("/") for one in (root, *ENGINE_ROOTS) if one.startswith("/")]
    return tuple(dict.fromkeys([*named, *(os.path.realpath(one) for one in named)]))


def check(place: str, folder: Folder, roots: Sequence[str]) -> None:
    """Pure. Raises `Problem` where no images are to be kept there."""
    if not PLACE.fullmatch(place) or posixpath.normpath(place) != place:
        raise Problem(
            "registry-storage",
            f"{place!r} is no folder for images",
            why="it is an absolute path of letters, digits and . _ - + @, below another folder",
        )
    for one in dict.fromkeys((place, folder.real)):
        why = _reason(one, roots)
        if why:
            raise Problem(
                "registry-storage",
                f"no images are kept in {place}",
                why=why,
                hint="give the registry a folder of its own with --storage DIR",
            )
    if folder.foreign and not folder.owned:
        raise Problem(
            "registry-storage",
            f"{place} is not empty",
            why=f"{folder.foreign} is in it, and the whole folder would become the registry's",
            hint=f"name an empty folder, {place}/registry for example",
        )


def _reason(place: str, roots: Iterable[str]) -> str:
    below = next((one for one in FORBIDDEN if f"{place}/".startswith(f"{one}/")), "")
    if below:
        return f"it is below {below}"
    if SYSTEM.fullmatch(place):
        return f"{place} belongs to the host's system"
    root = next((one for one in roots if overlaps(place, one)), "")
    if not root:
        return ""
    return f"{root}, where Docker has its own data, {'contains' if len(root) <= len(place) else 'is in'} it"


def overlaps(one: str, other: str) -> bool:
    """Pure: the same folder, or one of them is in the other."""
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def make(host: Host, place: str, account: str) -> None:
    """The folder, of the user `account`, and the images that are in it already."""
    for parent in reversed(Path(place).parents):
        if not host.exists(str(parent)):
            host.make_folder(str(parent), 0o755)
    host.make_folder(place, 0o750)
    # what is inside first, the folder itself last, and chown(1) goes up a tree: one that was killed is seen
    inside = [("-R", IMAGES), ("-h", "docker"), ("-h", SCHEDULE)]
    for flag, name in inside:
        if host.exists(f"{place}/{name}"):
            host.must("chown", flag, account, str(host.path(f"{place}/{name}")), deadline=DEADLINE)
    host.must("chown", account, str(host.path(place)), deadline=60)


def purge(host: Host, place: str) -> None:
    """Only what a registry makes: the folder may hold other things as well."""
    doomed = [str(host.path(f"{place}/{one}")) for one in (IMAGES, SCHEDULE)]
    host.must("rm", "-rf", "--one-file-system", *doomed, deadline=DEADLINE)
    for left in (f"{place}/docker", place):
        host.run("rmdir", str(host.path(left)), deadline=20)
