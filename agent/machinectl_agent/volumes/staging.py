"""Contents arrive in a place of their own, beside the wanted one, and take its place when they are whole.

A named volume's arrive in a volume `machinectl-staging-…`: it is on the same file system, visible to everybody, and
goes with Docker's own means. A folder's arrive beside it; where it is a mount of its own, in it. What a killed run
has left is removed by the next one: its lock is free.
"""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, TextIO

from machinectl_agent.problems import Problem
from machinectl_agent.shares.naming import LABEL as SHARE
from machinectl_agent.volumes import docker, record
from machinectl_agent.volumes.exchange import exchange, sync_folder
from machinectl_agent.volumes.mounts import check_no_mounts, remove_tree
from machinectl_agent.volumes.place import (
    Place,
    bound_folder,
    check_replaceable,
    find_place,
    is_path,
    reachable,
)
from machinectl_agent.volumes.tree import is_empty

LOCKS = Path("/run/machinectl/staging")
MARK = "machinectl-staging-"
LABEL = "machinectl.staging"
_HIDDEN = f".{MARK}"


class Staging:
    """`folder` is filled by the caller; then `switch`. `discard` in any case, also after it: what was there before
    goes."""

    def __init__(self, name: str, head: Mapping[str, Any]) -> None:
        """`head`: driver, options and labels of a volume that is made where there is none."""
        self._name = name
        self._head = head
        self._made = False
        self._token = secrets.token_hex(4)
        self._lock: Optional[TextIO] = record.lock(LOCKS / self._token)
        self._volume = ""
        self._hidden = ""
        self.folder = ""
        try:
            self._open()
        except BaseException:
            self.discard()
            raise

    def switch(self) -> None:
        """Raises `Problem` or `OSError`, with the old contents in their place."""
        if self._volume:
            self._switch_volume()
        elif not os.path.lexists(self._target):
            os.rename(self.folder, self._target)  # noqa: PTH104
            sync_folder(os.path.dirname(self._target))  # noqa: PTH120
        elif self._inside:
            _move_up(Path(self.folder), Path(self._target), f".machinectl-before-{self._token}")
        else:
            exchange(self.folder, self._target)
        self._made = False

    def discard(self) -> None:
        if self._volume:
            with suppress(Problem):  # the next run finds it
                _remove_volume(self._volume)
        if self._hidden:
            with suppress(Problem):
                remove_tree(self._hidden)
        if self._made:
            with suppress(Problem):
                docker.remove_volume(self._name)
        if self._lock:
            (LOCKS / self._token).unlink(missing_ok=True)
            self._lock.close()
            self._lock = None

    def _open(self) -> None:
        place = find_place(self._name)
        if not is_path(self._name):
            document = place.volume if place else {**self._head, "Name": self._name}
            assert document is not None
            if plain(document):
                self._volume = f"{MARK}{self._token}"
                made = docker.create_volume(self._volume, "local", {}, {LABEL: self._name})
                self.folder = str(made["Mountpoint"])
                return
            if place is None:
                place = self._make()
        self._target = reachable(place) if place else self._name
        check_replaceable(self._target)
        check_no_mounts(self._target)
        self._inside = Path(self._target).is_mount()
        parent = Path(self._target) if self._inside else Path(self._target).parent
        if not parent.is_dir():
            raise Problem("no-such-folder", f"there is no folder {parent}", hint="make it first")
        sweep_folder(parent)
        self._hidden = str(parent / f"{_HIDDEN}{self._token}")
        Path(self._hidden).mkdir(0o700)
        # in a folder of ours, as the contents' own folder has their owner and mode
        self.folder = f"{self._hidden}/contents"
        Path(self.folder).mkdir(0o700)

    def _make(self) -> Place:
        driver, options, labels = wished(self._head)
        docker.create_volume(self._name, driver, options, labels)
        self._made = True
        place = find_place(self._name)
        assert place is not None
        return place

    def _switch_volume(self) -> None:
        place = find_place(self._name)
        if place is None:
            place = self._make()
        exchange(self.folder, reachable(place))


def plain(document: Mapping[str, Any]) -> bool:
    """Pure: a volume that is a folder of Docker's own, and no mount of something else."""
    driver, options, _ = wished(document)
    return driver == "local" and not options.get("device") and not bound_folder(document)


def wished(document: Mapping[str, Any]) -> tuple[str, Dict[str, str], Dict[str, str]]:
    """Pure: driver, options, labels; of Docker's document or of a backup's head."""
    return (
        str(document.get("Driver") or "local"),
        dict(document.get("Options") or {}),
        dict(document.get("Labels") or {}),
    )


def harmless(head: Mapping[str, Any]) -> Dict[str, Any]:
    """Pure: the head of a backup whose volume is some folder of a host's, a mount, or a driver's, without that: who
    wrote the file has no say in what of this machine is replaced. Labels stay, but for those of a share."""
    if plain(head):
        return dict(head)
    labels = {key: value for key, value in wished(head)[2].items() if not key.startswith(SHARE)}
    return {**head, "Driver": "local", "Options": {}, "Labels": labels}


def sweep(say: Callable[[str], None]) -> None:
    """Staging volumes of runs that are dead."""
    for one in docker.volumes():
        name = str(one["Name"])
        if name.startswith(MARK) and LABEL in (one.get("Labels") or {}) and _is_free(name[len(MARK) :]):
            say(f"removing volume {name}, which a broken restore of {one['Labels'][LABEL]} has left")
            with suppress(Problem):
                _remove_volume(name)


def _remove_volume(name: str) -> None:
    """Docker goes through what is mounted in it."""
    check_no_mounts(str((docker.volume(name) or {}).get("Mountpoint") or ""))
    docker.remove_volume(name, force=True)


def sweep_folder(parent: Path) -> None:
    for one in parent.glob(f"{_HIDDEN}*"):
        if _is_free(one.name[len(_HIDDEN) :]):
            with suppress(Problem):
                remove_tree(str(one))


def _is_free(token: str) -> bool:
    guard = record.lock(LOCKS / token)
    if guard is None:
        return False
    (LOCKS / token).unlink(missing_ok=True)
    guard.close()
    return True


def _move_up(staged: Path, target: Path, before: str) -> None:
    """For a mount, which can't be renamed: entry by entry, the old ones aside first. Should it be cut off, nothing is
    lost: they are in the folder `before` then, which nobody but a person removes."""
    aside = target / before
    aside.mkdir(0o700)
    for one in list(target.iterdir()):
        if one not in (staged.parent, aside) and one.name != "lost+found":
            one.rename(aside / one.name)
    for one in list(staged.iterdir()):
        one.rename(target / one.name)
    about = staged.stat()
    os.chown(target, about.st_uid, about.st_gid)
    target.chmod(stat.S_IMODE(about.st_mode))
    for name in os.listxattr(staged):
        with suppress(OSError):
            os.setxattr(target, name, os.getxattr(staged, name))
    os.utime(target, ns=(about.st_atime_ns, about.st_mtime_ns))
    sync_folder(str(target))
    remove_tree(str(aside))


def check_free(place: Optional[Place], *, replace: bool) -> None:
    """Raises `Problem` `volume-not-empty` where something would be replaced that nobody said may be."""
    if place is None or replace or not place.folder or not Path(place.folder).is_dir():
        return
    if not is_empty(place.folder):
        raise Problem(
            "volume-not-empty",
            f"{'volume' if place.volume else 'folder'} {place.name} is not empty",
            hint="--replace puts what comes in the place of what is there",
        )
