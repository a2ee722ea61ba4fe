"""What an inventory wants of one machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from machinectl.model import SshAddress


@dataclass(frozen=True)
class FileWish:
    """A file on the machine, with its content as it shall be there."""

    path: str
    """Absolute."""
    content: bytes = field(repr=False)
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    restart: str = ""
    """The systemd unit that is restarted after the file has changed."""
    secret: bool = False
    """No plan shows what is in it."""
    origin: str = ""
    """`FILE:LINE`, for messages."""


@dataclass(frozen=True)
class ImageWish:
    """An image that the engine has."""

    name: str
    """With its tag; empty: one of a file that has none."""
    id: str = ""
    likeness: str = ""
    size: int = 0
    """Of one in a file."""
    file: str = ""
    machine: str = ""
    """Where it comes from; both empty: the engine pulls it."""


@dataclass(frozen=True)
class Wish:
    """One machine's settings, merged over its groups and checked."""

    name: str
    ip: str
    """Setting `ip`, else `ansible_host`, else the name."""
    ssh: SshAddress
    become: bool = True
    engine: Mapping[str, Any] = field(default_factory=dict)
    """As `Machine.engine`: options, env, version, mirror, packages, adopt."""
    engine_port: int = 2376
    host: Mapping[str, Any] = field(default_factory=dict)
    """os, hostname, sysctl, packages, volumes, registry_cas."""
    tls_san: tuple[str, ...] = ()
    files: tuple[FileWish, ...] = ()
    images: tuple[ImageWish, ...] = ()
    network: bool = False
    """A member of machinectl's networks."""
    advertise: str = ""
    """Address or interface that other machines' packets go to."""
    etcd: bool = False
    """A member of the etcd cluster."""
    context: bool = False
    """A `docker context` entry is kept for it."""
