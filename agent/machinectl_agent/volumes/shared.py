"""Volumes and folders that other machines have, too (`machinectl volume share`): no container here tells of that."""

from __future__ import annotations

import os
from typing import Callable, List

from machinectl_agent.host import Host
from machinectl_agent.problems import Problem
from machinectl_agent.shares.naming import LABEL_FROM
from machinectl_agent.shares.record import Record, read_records
from machinectl_agent.volumes.mounts import within
from machinectl_agent.volumes.place import Place


def shares_of(place: Place, host: Host) -> List[Record]:
    """This machine's exports of the place, of something in it, or of what it is in. Raises `Problem`."""
    own = {os.path.realpath(path) for path in (place.folder, place.mountpoint) if path}
    found = []
    for one in read_records(host):
        folder = os.path.realpath(one.folder)
        if any(within(folder, mine) or within(mine, folder) for mine in own):
            found.append(one)
    return found


def check_unshared(place: Place) -> None:
    """Raises `Problem` `volume-shared`, as what is replaced or removed would go from other machines, too."""
    found = shares_of(place, Host())
    if found:
        raise Problem(
            "volume-shared",
            f"{place.name} is shared with other machines",
            why="; ".join(_told(one) for one in found),
            hint=f"`machinectl volume unshare` MACHINE:{found[0].place} first",
        )


def warn_of_shares(place: Place, say: Callable[[str], None]) -> None:
    """Before a copy."""
    labels = (place.volume or {}).get("Labels") or {}
    others = [_told(one) for one in shares_of(place, Host())]
    if LABEL_FROM in labels:
        others.append(f"it is a share of {labels[LABEL_FROM]}")
    for one in others:
        say(f"warning: other machines may write to {place.name} while it is copied: {one}")


def _told(one: Record) -> str:
    return f"share {one.name}, of {one.folder}, is on {', '.join(sorted(one.clients)) or 'no machine now'}"
