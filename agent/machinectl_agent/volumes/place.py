"""A volume's name, or an absolute path, and the folder on this machine that has its contents."""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Optional

from machinectl_agent.problems import Problem
from machinectl_agent.volumes import docker

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
"""Docker's rule (volume.RestrictedNamePattern)."""

SYSTEM = re.compile(
    r"/(bin|boot|dev|etc|home|lib|lib32|lib64|libx32|media|mnt|opt|proc|root|run|sbin|srv|sys|tmp|usr|var"
    r"|(bin|boot|dev|lib|lib32|lib64|libx32|proc|sbin|sys)/.*"
    r"|usr/(local|(local/)?(bin|etc|games|include|lib|lib32|lib64|libexec|libx32|sbin|share|src))"
    r"|usr/lib/.*"
    r"|etc/(cron\.[a-z]+|init\.d|ld\.so\.conf\.d|pam\.d|profile\.d|security|ssh|ssl|sudoers\.d|systemd(/.*)?|udev)"
    r"|root/\.ssh|var/(cache|spool|spool/cron(/.*)?)"
    r"|var/(lib|log|run)(/containerd|/docker(/volumes)?|/machinectl)?)?"
)
"""Folders of the host's own, of which no one is ever replaced or removed as a whole."""


@dataclass(frozen=True)
class Place:
    """Where contents are, or are to be."""

    name: str
    """The volume's, or the path."""
    folder: str
    """The contents are in it; empty where they can't be reached from the host."""
    volume: Optional[Mapping[str, Any]] = None
    """Docker's document; None: a path of the host's."""

    @property
    def mountpoint(self) -> str:
        return str(self.volume["Mountpoint"]) if self.volume else self.folder


def is_path(name: str) -> bool:
    return name.startswith("/")


def check_name(name: str) -> None:
    """Raises `Problem` `volume-name` for what is neither a volume's name nor a path that can be one."""
    if is_path(name):
        if posixpath.normpath(name) != name or "\0" in name:
            raise Problem("volume-name", f"{name!r} is no plain absolute path", hint="write it as /srv/data")
        if name.startswith("/proc/") or name.startswith("/sys/") or name.startswith("/dev/"):
            raise Problem("volume-name", f"{name} is the kernel's")
    elif not NAME.fullmatch(name):
        raise Problem(
            "volume-name",
            f"{name!r} is no name of a volume",
            why="allowed are letters, digits, _, . and -, the first one a letter or digit",
        )


def find_place(name: str) -> Optional[Place]:
    """None where there is no such volume or folder. Raises `Problem` for a name that can't be, or a file."""
    check_name(name)
    if not is_path(name):
        found = docker.volume(name)
        return place_of(found) if found else None
    if not os.path.lexists(name):
        return None
    if os.path.realpath(name) != name:
        raise Problem(
            "volume-link", f"{name} leads over a link to {os.path.realpath(name)}", hint="name that folder"
        )
    if not Path(name).is_dir():
        raise Problem("volume-kind", f"{name} is no folder", hint="`machinectl scp` copies files")
    return Place(name, name)


def need_place(name: str) -> Place:
    """Raises `Problem` `no-such-volume`, too."""
    found = find_place(name)
    if found is None:
        raise Problem(
            "no-such-volume",
            f"there is no folder {name}" if is_path(name) else f"there is no volume {name}",
            hint="" if is_path(name) else "`machinectl volume ls` lists them",
        )
    return found


def place_of(volume: Mapping[str, Any]) -> Place:
    """Where Docker's own driver mounts something at the volume's place, it does so only while a container runs: the
    contents of a bound folder are read where they are, of other mounts only while they are there."""
    mountpoint = str(volume.get("Mountpoint") or "")
    bound = bound_folder(volume)
    if bound:
        return Place(str(volume["Name"]), os.path.realpath(bound), volume)
    options = volume.get("Options") or {}
    unreachable = not Path(mountpoint).is_dir() or (options.get("device") and not Path(mountpoint).is_mount())
    return Place(str(volume["Name"]), "" if unreachable else mountpoint, volume)


def bound_folder(volume: Mapping[str, Any]) -> str:
    """Pure: the host's folder that a volume of `--opt type=none --opt o=bind --opt device=DIR` is; else empty."""
    options = volume.get("Options") or {}
    flags = str(options.get("o", "")).split(",")
    bound = volume.get("Driver") == "local" and ("bind" in flags or "rbind" in flags)
    return str(options.get("device", "")) if bound else ""


def reachable(place: Place) -> str:
    """The folder. Raises `Problem` `volume-unreachable`."""
    if place.folder and Path(place.folder).is_dir():
        return place.folder
    bound = bound_folder(place.volume) if place.volume else ""
    if bound:
        raise Problem(
            "volume-unreachable",
            f"volume {place.name} is the folder {bound}, which is not on this machine",
            hint="make the folder first; or --plain, where the volume is to be made",
        )
    driver = place.volume.get("Driver") if place.volume else ""
    raise Problem(
        "volume-unreachable",
        f"the contents of volume {place.name} can't be reached from the host now",
        why=f"its driver {driver} mounts them only while a container that uses it runs",
        hint="start a container that uses it",
    )


def check_replaceable(name: str) -> None:
    """Raises `Problem` `volume-system` for a folder that a host can't do without, whatever leads to it."""
    if SYSTEM.fullmatch(name) or SYSTEM.fullmatch(os.path.realpath(name)):
        raise Problem(
            "volume-system", f"{name} belongs to the host's system", hint="name a folder of your own"
        )
