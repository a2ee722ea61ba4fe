"""Questions and small changes, without a stream: the agent's verb `volumes`, args {"op": …}."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping

from machinectl_agent.host import Host
from machinectl_agent.problems import Problem
from machinectl_agent.volumes import docker, undo
from machinectl_agent.volumes.coming import came_since
from machinectl_agent.volumes.compress import has_zstd
from machinectl_agent.volumes.mounts import check_no_mounts, remove_tree
from machinectl_agent.volumes.place import (
    Place,
    bound_folder,
    check_name,
    check_replaceable,
    find_place,
    is_path,
    need_place,
    place_of,
    reachable,
)
from machinectl_agent.volumes.shared import check_unshared
from machinectl_agent.volumes.staging import MARK
from machinectl_agent.volumes.tree import digest_tree
from machinectl_agent.volumes.users import RealPaths, User, find_users, users_of
from machinectl_agent.volumes.where import where
from machinectl_agent.volumes.wish import differs

if TYPE_CHECKING:
    from machinectl_agent.session import Session

SIZE_DEADLINE = 900.0


def volumes(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    """Raises `Problem`."""
    op = _OPS.get(str(args.get("op")))
    if op is None:
        raise Problem("spec", f"the agent does not know what {args.get('op')!r} of volumes is")
    undo.sweep(session.log)
    return op(session, args)


def _list(_session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    """args: size (ask for it, too) → volumes."""
    found, containers, real = docker.volumes(), docker.containers(), RealPaths()
    return {
        "volumes": [
            _shown(one, find_users(place_of(one), containers, found, real), size=bool(args.get("size")))
            for one in found
            if not str(one["Name"]).startswith(MARK)
        ]
    }


def _inspect(_session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    """args: name, size → Docker's document, or what there is to say of a folder; Folder, Containers and Size."""
    place = need_place(str(args["name"]))
    shown = _shown(place.volume or {"Name": place.name, "Driver": ""}, users_of(place), size=False)
    return {
        **(place.volume or {"Name": place.name}),
        "Folder": place.folder,
        "Containers": shown["containers"],
        "Size": _size(place.folder) if args.get("size") else None,
    }


def _shown(document: Mapping[str, Any], users: List[User], *, size: bool) -> Dict[str, Any]:
    place = Place(str(document["Name"]), "") if not document["Driver"] else place_of(document)
    folder = place.folder or str(document.get("Mountpoint") or "")
    return {
        "name": document["Name"],
        "driver": document["Driver"],
        "mountpoint": document.get("Mountpoint") or "",
        "folder": bound_folder(document) or folder,
        "options": document.get("Options") or {},
        "labels": document.get("Labels") or {},
        "containers": [one.to_json() for one in users if one.direct],
        "size": _size(folder) if size else None,
    }


def _size(folder: str) -> Any:
    """Bytes on the disk; None where the contents can't be reached."""
    if not Path(folder).is_dir():
        return None
    # du's status is 1 when a file vanished under it; its sum is good all the same
    words = (
        Host().run("du", "-s", "-x", "--block-size=1", "--", folder, deadline=SIZE_DEADLINE).stdout.split()
    )
    return int(words[0]) if words and words[0].isdigit() else None


def _create(_session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    """args: name, driver, options, labels → created. One that is there as wished stays as it is."""
    name, driver = str(args["name"]), str(args.get("driver") or "local")
    options, labels = dict(args.get("options") or {}), dict(args.get("labels") or {})
    check_name(name)
    found = find_place(name)
    if is_path(name):
        if found is None:
            Path(name).mkdir(0o755, parents=True)
        return {"created": found is None}
    if found is None:
        docker.create_volume(name, driver, options, labels)
        return {"created": True}
    assert found.volume is not None
    difference = differs(found.volume, driver, options, labels)
    if difference:
        raise Problem(
            "volume-differs",
            f"there is a volume {name} already, with {difference}",
            why="Docker can't change a volume",
            hint="name another one, or `machinectl volume rm` this one first",
        )
    return {"created": False}


def _remove(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    """args: name, force (no error where there is none), copied (of a migrate: digest, and since when nobody may have
    written) → removed."""
    name = str(args["name"])
    if is_path(name):
        check_replaceable(name)
    place = find_place(name) if args.get("force") else need_place(name)
    if place is None:
        return {"removed": False}
    check_removable(place)
    if args.get("copied"):
        _check_unwritten(place, args["copied"], session)
    remove_place(place)
    return {"removed": True}


def _check_unwritten(place: Place, copied: Mapping[str, Any], session: Session) -> None:
    """Raises `Problem` `not-consistent` where the source of a migrate may have changed after it was read."""
    name, sure = came_since(place, float(copied["since"]))
    why = f"container {name} was started after it was copied" if name else ""
    if not why and not sure:
        session.log(f"reading {place.name} once more before it is removed")
        if digest_tree(reachable(place)).to_json() != copied["digest"]:
            why = "it has other contents than the copy"
    if why:
        raise Problem(
            "not-consistent",
            f"{place.name} has changed since it was copied, and stays",
            why=why,
            hint="run it again with --replace",
        )


def remove_place(place: Place) -> None:
    """Docker itself refuses a volume that a container got in the meantime, but goes through what is mounted in it."""
    check_no_mounts(place.mountpoint)
    if place.volume is not None:
        docker.remove_volume(place.name)
    elif Path(place.folder).is_mount():
        raise Problem("volume-mount", f"{place.name} is a mount of its own", hint="empty it by hand")
    else:
        remove_tree(place.folder)


def _digest(_session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    """args: name → digest (the tree's), where (it is), since (when it was read); of nothing an empty result."""
    place = find_place(str(args["name"]))
    if place is None:
        return {}
    folder, since = reachable(place), time.time()
    return {"digest": digest_tree(folder).to_json(), "where": where(folder), "since": since}


def _pack(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    from machinectl_agent.volumes.pack import pack  # noqa: PLC0415 - seldom

    return pack(session, args)


def _programs(_session: Session, _args: Mapping[str, Any]) -> Dict[str, Any]:
    """What a restore may want."""
    return {"zstd": has_zstd()}


def check_removable(place: Place) -> None:
    """Raises `Problem`. For a migrate before anything is copied, too."""
    check_unused(place)
    check_no_mounts(place.mountpoint)
    check_unshared(place)


def check_unused(place: Place) -> None:
    """Raises `Problem` `volume-in-use` while a container has it, running or not: Docker's own rule."""
    users = [one for one in users_of(place) if one.direct]
    if users:
        names = ", ".join(f"{one.name} ({one.state})" for one in users)
        raise Problem(
            "volume-in-use",
            f"{'folder' if place.volume is None else 'volume'} {place.name} is in use",
            why=f"by {names}: Docker removes no volume that a container has, even a stopped one",
            hint="remove the containers first: `docker rm`",
        )


_OPS: Dict[str, Callable[[Session, Mapping[str, Any]], Dict[str, Any]]] = {
    "ls": _list,
    "inspect": _inspect,
    "create": _create,
    "rm": _remove,
    "digest": _digest,
    "pack": _pack,
    "programs": _programs,
}
