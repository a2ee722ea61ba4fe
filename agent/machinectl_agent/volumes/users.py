"""The containers that have a volume or a folder, by what Docker says of their mounts and where links lead."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from machinectl_agent.problems import Problem
from machinectl_agent.volumes import docker
from machinectl_agent.volumes.mounts import within
from machinectl_agent.volumes.place import Place, bound_folder

RUNS = ("running", "restarting")
"""States in which a container's processes may write."""


@dataclass(frozen=True)
class User:
    """A container and its mount."""

    id: str
    name: str
    state: str
    """running, restarting, paused, created, exited, dead, removing."""
    destination: str
    """Path in the container."""
    writes: bool
    direct: bool
    """It has this volume or a folder in it; not only a folder that this one is in, such as `/`."""

    @property
    def runs(self) -> bool:
        return self.state in RUNS

    def to_json(self) -> Dict[str, Any]:
        return {"name": self.name, "id": self.id, "state": self.state,
                "destination": self.destination, "writes": self.writes}  # fmt: skip


def users_of(place: Place) -> List[User]:
    return find_users(place, docker.containers(), docker.volumes())


class RealPaths(Dict[str, str]):
    """Where the links in a path lead, looked up once: Docker says of a mount what somebody wrote."""

    def __missing__(self, path: str) -> str:
        found = self[path] = os.path.realpath(path) if path else ""
        return found


def find_users(
    place: Place,
    containers: Sequence[Mapping[str, Any]],
    volumes: Sequence[Mapping[str, Any]],
    real: Optional[RealPaths] = None,
) -> List[User]:
    """One for each container, by name; where it has several mounts of it, they are taken together. `real`: for many
    places at once."""
    real = RealPaths() if real is None else real
    own = {real[path] for path in (place.folder, place.mountpoint) if path}
    sources = {
        str(one["Name"]): (real[str(one.get("Mountpoint") or "")], real[bound_folder(one)]) for one in volumes
    }
    found = []
    for one in containers:
        touching = []
        for mount in one.get("Mounts") or ():
            direct = _touches(mount, place, own, sources, real)
            if direct is not None:
                touching.append((mount, direct))
        if touching:
            found.append(
                User(
                    id=str(one["Id"]),
                    name=container_name(one),
                    state=str(one.get("State", "")),
                    destination=str(touching[0][0].get("Destination", "")),
                    writes=any(mount.get("RW", True) for mount, _ in touching),
                    direct=any(direct for _, direct in touching),
                )
            )
    return sorted(found, key=lambda user: user.name)


def check_not_paused(users: Sequence[User]) -> None:
    """Raises `Problem`: a paused container would go on with files that are no longer there; and dockerd stops none
    without letting it go on."""
    paused = [one.name for one in users if one.direct and one.state == "paused"]
    if paused:
        raise Problem(
            "volume-paused",
            f"paused containers have it: {', '.join(paused)}",
            why="when they go on they would miss their files",
            hint=f"`docker unpause {paused[0]}` first, or `docker stop` it",
        )


def container_name(container: Mapping[str, Any]) -> str:
    """Without the slash; names with a second one are links of others to it."""
    names = [str(name).lstrip("/") for name in container.get("Names") or ()]
    return next((name for name in names if "/" not in name), str(container["Id"])[:12])


def _touches(
    mount: Mapping[str, Any],
    place: Place,
    own: set[str],
    sources: Mapping[str, Tuple[str, str]],
    real: RealPaths,
) -> Any:
    """True or False for `User.direct`, None where the mount is of something else."""
    if mount.get("Type") == "volume":
        name = str(mount.get("Name", ""))
        if place.volume is not None and name == place.name:
            return True
        paths = [path for path in sources.get(name, ()) if path]
    elif mount.get("Type") == "bind":
        paths = [real[str(mount.get("Source", ""))]]
    else:
        return None
    if any(within(path, mine) for path in paths for mine in own):
        return True
    return False if any(within(mine, path) for path in paths for mine in own) else None
