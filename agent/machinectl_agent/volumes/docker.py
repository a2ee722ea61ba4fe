"""What Docker says of its volumes and of the containers that use them. Every function raises `Problem`."""

from __future__ import annotations

import urllib.parse
from typing import Any, Dict, List, Mapping, Optional

from machinectl_agent.engine.api import ApiError, call
from machinectl_agent.problems import Problem

DEADLINE = 60.0
"""Seconds; a list of many containers on a loaded machine."""

Document = Dict[str, Any]


def volumes() -> List[Document]:
    found = ask("GET", "/volumes", what="the volumes can't be listed")
    return sorted(found.get("Volumes") or [], key=lambda one: str(one["Name"]))


def volume(name: str) -> Optional[Document]:
    found: Optional[Document] = ask("GET", f"/volumes/{quoted(name)}", what=f"volume {name} can't be read")
    return found


def create_volume(name: str, driver: str, options: Mapping[str, str], labels: Mapping[str, str]) -> Document:
    body = {"Name": name, "Driver": driver or "local", "DriverOpts": dict(options), "Labels": dict(labels)}
    found: Document = ask("POST", "/volumes/create", body, what=f"volume {name} can't be made")
    return found


def remove_volume(name: str, *, force: bool = False) -> None:
    ask("DELETE", f"/volumes/{quoted(name)}?force={int(force)}", what=f"volume {name} can't be removed")


def containers() -> List[Document]:
    """All of them, also those that don't run, with their mounts."""
    found: List[Document] = ask("GET", "/containers/json?all=1", what="the containers can't be listed")
    return found


def container(identity: str) -> Optional[Document]:
    """Docker's inspect."""
    found: Optional[Document] = ask(
        "GET", f"/containers/{identity}/json", what="a container can't be looked at"
    )
    return found


def data_root() -> str:
    return str(ask("GET", "/info", what="the engine does not say where its data are")["DockerRootDir"])


def quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")


def ask(
    method: str, path: str, body: Optional[Mapping[str, Any]] = None, *, what: str, deadline: float = DEADLINE
) -> Any:
    """`call`, its errors as a `Problem` that says `what` could not be done."""
    try:
        return call(method, path, body, deadline=deadline)
    except ApiError as error:
        if error.status:
            raise Problem("engine-refused-call", what, why=error.said) from error
        raise Problem(
            "engine-unreachable",
            what,
            why="dockerd does not answer on the machine",
            hint="`machinectl status NAME`, `machinectl start NAME`",
        ) from error
