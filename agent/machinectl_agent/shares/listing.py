"""The shares of this machine: those that it exports, by their records; those of others, by its volumes and mounts."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional

from machinectl_agent.host import Host
from machinectl_agent.shares import nfs, sshfs
from machinectl_agent.shares.naming import HOME, LABEL, LABEL_FROM, socket_unit
from machinectl_agent.shares.record import Record, read_record
from machinectl_agent.volumes import docker


def shares_here(host: Host) -> List[Dict[str, Any]]:
    """Of each: share, via, place (exports), from (mounts), to (exports), state. Raises `Problem`."""
    exports = [one for name in host.names(HOME) if (one := read_record(host, name))]
    volumes = {
        str(one["Name"]): one
        for one in docker.volumes()
        if (one.get("Labels") or {}).get(LABEL) == one["Name"]
    }
    mounted = sshfs.units(host)
    found = [_export(host, one) for one in exports]
    found += [_mount(name, volumes.get(name), mounted.get(name)) for name in {**volumes, **mounted}]
    return sorted(found, key=lambda one: str(one["share"]))


def _export(host: Host, record: Record) -> Dict[str, Any]:
    unit = socket_unit(record.name) if record.via == "sshfs" else nfs.SERVICE
    state = "serving" if host.run("systemctl", "is-active", "-q", unit, deadline=20).ok else "stopped"
    return _row(record.name, record.via, place=record.place, to=sorted(record.clients), state=state)


def _mount(name: str, volume: Optional[Mapping[str, Any]], server: Optional[str]) -> Dict[str, Any]:
    """`server`: of the mount's unit; None: there is no unit."""
    if volume is None:
        return _row(name, "sshfs", server=server or "", state="no volume")
    server = str((volume.get("Labels") or {}).get(LABEL_FROM, ""))
    if (volume.get("Options") or {}).get("type") == "nfs":
        # dockerd mounts it for the first container, and unmounts it after the last
        state = "mounted" if sshfs.is_mounted_at(str(volume["Mountpoint"])) else "unused"
        return _row(name, "nfs", server=server, state=state)
    return _row(name, "sshfs", server=server, state="mounted" if sshfs.is_mounted(name) else "not mounted")


def _row(
    name: str, via: str, *, state: str, place: str = "", server: str = "", to: Optional[List[str]] = None
) -> Dict[str, Any]:
    return {"share": name, "via": via, "place": place, "from": server, "to": to or [], "state": state}
