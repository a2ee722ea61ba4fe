"""Names, folders and units of a share. Pure."""

from __future__ import annotations

import re

from machinectl_agent.problems import Problem

HOME = "/etc/machinectl-shares"
MOUNTS = "/var/lib/machinectl-shares"
JAILS = "/run/machinectl-shares"
LABEL = "machinectl.share"
LABEL_FROM = "machinectl.share.from"

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}")
"""Docker's rule for volumes, no longer than a unit's name can take."""

_PLAIN = re.compile(r"/[A-Za-z0-9/._@+=,~-]*")
"""Units and exports(5) have quotes of their own, each with other rules: such paths need none."""


def check_share(name: str) -> str:
    """The name. Raises `Problem`."""
    if not _NAME.fullmatch(name):
        raise Problem(
            "share-name",
            f"{name!r} is no name for a share",
            why="allowed are up to 64 letters, digits, _, . and -, the first one a letter or digit",
            hint="--name gives it another one",
        )
    return name


def check_folder(folder: str) -> str:
    """The folder. Raises `Problem`."""
    if not _PLAIN.fullmatch(folder):
        raise Problem("share-path", f"{folder!r} can't be shared", why="its name has special characters")
    return folder


def home(name: str) -> str:
    """Record, keys and configuration, on both ends."""
    return f"{HOME}/{name}"


def mountpoint(name: str) -> str:
    """Where sshfs mounts; the contents are in `data` below it, so that nothing is there when it is not mounted."""
    return f"{MOUNTS}/{name}"


def jail(name: str) -> str:
    """All that the other machines can see of the exporting one."""
    return f"{JAILS}/{name}"


def socket_unit(name: str) -> str:
    return f"machinectl-share-{name}.socket"


def serving_unit(name: str) -> str:
    return f"machinectl-share-{name}@.service"


def mounting_unit(name: str) -> str:
    return f"machinectl-mount-{name}.service"


def exports_file(name: str) -> str:
    return f"/etc/exports.d/machinectl-{name}.exports"
