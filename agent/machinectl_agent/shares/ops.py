"""The agent's verb `shares`: small steps, put in order by the controller."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, Callable, Dict, Mapping

from machinectl_agent.facts import gather
from machinectl_agent.host import Host
from machinectl_agent.lock import apply_lock
from machinectl_agent.problems import Problem
from machinectl_agent.shares import checks, nfs, sftp, sshfs
from machinectl_agent.shares.listing import shares_here
from machinectl_agent.shares.naming import LABEL, LABEL_FROM, check_folder, check_share, home
from machinectl_agent.shares.record import Client, Record, read_record, write_record
from machinectl_agent.volumes import docker
from machinectl_agent.volumes.place import find_place, is_path, reachable
from machinectl_agent.volumes.users import users_of
from machinectl_agent.volumes.wish import differs

if TYPE_CHECKING:
    from machinectl_agent.session import Session

LOCK_WAIT = 120.0


def shares(session: Session, args: Mapping[str, Any]) -> Dict[str, Any]:
    """args: op, share (its name), and what the op takes; `list` takes nothing. Raises `Problem`."""
    if args.get("op") == "list":
        return {"shares": shares_here(Host())}
    op = _OPS.get(str(args.get("op")))
    if op is None:
        raise Problem("spec", f"the agent does not know what {args.get('op')!r} of shares is")
    check_share(str(args["share"]))
    host = Host()
    if not gather(host).systemd:
        raise Problem("no-systemd", "this host does not run systemd", why="shares are units of systemd's")
    with apply_lock(session.log, wait=LOCK_WAIT, who=str(args.get("for", ""))):
        return op(host, args)


def _check_server(host: Host, args: Mapping[str, Any]) -> Dict[str, Any]:
    """args: place → nfs (why not; empty: it can), beside (NFS would let clients reach what is beside the share), via
    (of the share that is there already)."""
    folder = _folder(str(args["place"]), make=False)
    record = read_record(host, str(args["share"]))
    if record and record.place != args["place"]:
        raise Problem(
            "share-differs",
            f"this machine shares {record.place} as {record.name} already",
            hint="--name gives the new one another name",
        )
    return {
        "nfs": checks.no_nfs_server(host),
        "beside": nfs.is_part(host, folder),
        "via": record.via if record else "",
    }


def _check_client(host: Host, args: Mapping[str, Any]) -> Dict[str, Any]:
    """args: server (address), server_name → address, nfs, sshfs (why not; empty: they can)."""
    name = str(args["share"])
    if read_record(host, name):
        raise Problem("share-differs", f"this machine exports a share {name} itself", hint="--name")
    volume = docker.volume(name)
    labels = (volume or {}).get("Labels") or {}
    if volume and (labels.get(LABEL), labels.get(LABEL_FROM)) != (name, args["server_name"]):
        raise Problem(
            "volume-differs",
            f"there is a volume {name} on this machine already, and it is no part of this share",
            hint="--name gives the share another name, or `machinectl volume rm` this volume first",
        )
    address = checks.address_towards(str(args["server"]))
    return {"address": address, "nfs": checks.no_nfs_client(host), "sshfs": checks.no_fuse(host)}


def _check_way(host: Host, args: Mapping[str, Any]) -> Dict[str, Any]:
    """args: via, role (server or client). Raises `Problem` with what to do where it can't be."""
    if args["via"] == "nfs":
        (nfs.check_server if args["role"] == "server" else nfs.check_client)(host)
    elif args["role"] == "client":
        sshfs.check(host)
    return {}


def _key(host: Host, args: Mapping[str, Any]) -> Dict[str, Any]:
    return {"key": sshfs.own_key(host, gather(host), str(args["share"]))}


def _serve(host: Host, args: Mapping[str, Any]) -> Dict[str, Any]:
    """args: via, place, clients (machine → address, key) → folder, port, host_key. Clients add up."""
    name, via = str(args["share"]), str(args["via"])
    present = read_record(host, name)
    if present and present.via != via:
        raise Problem(
            "share-differs",
            f"the share {name} is by {present.via} already",
            hint=f"`machinectl volume unshare` it first, or --via {present.via}",
        )
    clients = {
        one: Client(str(what["address"]), str(what.get("key", ""))) for one, what in args["clients"].items()
    }
    folder = check_folder(_folder(str(args["place"]), make=True))
    port = present.port if present else sftp.free_port(host) if via == "sshfs" else 0
    known = dict(present.clients) if present else {}
    record = Record(name, via, str(args["place"]), folder, port, {**known, **clients})
    return {"folder": folder, "port": port, "host_key": _bring(host, record)}


def _bring(host: Host, record: Record) -> str:
    write_record(host, record)
    if record.via == "sshfs":
        return sftp.serve(host, gather(host), record)
    nfs.export(host, gather(host), record)
    return ""


def _attach(host: Host, args: Mapping[str, Any]) -> Dict[str, Any]:
    """args: via, server (address), server_name, folder, port, host_key → created."""
    name, server, machine = str(args["share"]), str(args["server"]), str(args["server_name"])
    if args["via"] == "nfs":
        options = _nfs_options(host, name, server, str(args["folder"]))
    else:
        facts = gather(host)
        sshfs.mount(host, facts, name, server, int(args["port"]), str(args["host_key"]), machine=machine)
        options = sshfs.volume_options(name)
    labels = {LABEL: name, LABEL_FROM: machine}
    volume = docker.volume(name)
    if volume is None:
        docker.create_volume(name, "local", options, labels)
        return {"created": True}
    difference = differs(volume, "local", options, labels)
    if difference:
        raise Problem(
            "volume-differs",
            f"there is a volume {name} already, with {difference}",
            hint="`machinectl volume unshare` and share it again",
        )
    return {"created": False}


def _nfs_options(host: Host, name: str, server: str, folder: str) -> Dict[str, str]:
    version = nfs.try_mount(host, server, folder)
    have = ((docker.volume(name) or {}).get("Options") or {}).get("o", "")
    # a volume that is there keeps its version: Docker can't change it
    kept = next((one for one in nfs.VERSIONS if f"nfsvers={one}," in have), version)
    return nfs.volume_options(server, folder, kept)


def _detach(host: Host, args: Mapping[str, Any]) -> Dict[str, Any]:
    """args: server_name → detached. Refused while a container has the volume, and for another server's share."""
    name, server = str(args["share"]), str(args["server_name"])
    volume = docker.volume(name)
    labels = (volume or {}).get("Labels") or {}
    mine = labels.get(LABEL) == name
    exporter = str(labels.get(LABEL_FROM)) if mine else sshfs.server_of(host, name)
    if exporter not in ("", server):
        raise Problem(
            "share-differs",
            f"the share {name} on this machine is of {exporter}, not of {server}",
            hint=f"`machinectl volume unshare {exporter}:{name}` ends that one",
        )
    if volume and mine:
        place = find_place(name)
        users = [one for one in users_of(place) if one.direct] if place else []
        if users:
            raise Problem(
                "volume-in-use",
                f"volume {name} is in use",
                why="by " + ", ".join(f"{one.name} ({one.state})" for one in users),
                hint="remove the containers first: `docker rm`",
            )
        docker.remove_volume(name)
    if not read_record(host, name):
        sshfs.unmount(host, name)
        shutil.rmtree(home(name), ignore_errors=True)
    return {"detached": bool(volume and mine)}


def _unserve(host: Host, args: Mapping[str, Any]) -> Dict[str, Any]:
    """args: clients (machines that have it no more) → left (those that still have it)."""
    name = str(args["share"])
    record = read_record(host, name)
    if record is None:
        return {"left": []}
    left = {one: what for one, what in record.clients.items() if one not in args["clients"]}
    if left:
        _bring(host, Record(**{**vars(record), "clients": left}))
        if record.via == "sshfs":
            sftp.cut_off(host, name)
        return {"left": sorted(left)}
    sftp.stop_serving(host, name)
    nfs.unexport(host, name)
    shutil.rmtree(home(name))
    return {"left": []}


def _show(host: Host, args: Mapping[str, Any]) -> Dict[str, Any]:
    """→ share: its record, or None; without keys."""
    record = read_record(host, str(args["share"]))
    if record is None:
        return {"share": None}
    return {"share": {**vars(record), "clients": {one: what.address for one, what in record.clients.items()}}}


def _folder(place: str, *, make: bool) -> str:
    """Of a volume, made where it is missing and `make` says so; or of a path. Raises `Problem`."""
    found = find_place(place)
    if found is None and is_path(place):
        raise Problem("no-such-volume", f"there is no folder {place}")
    if found is None:
        if not make:
            return ""
        docker.create_volume(place, "local", {}, {})
        found = find_place(place)
        assert found is not None
    if found.volume and LABEL_FROM in (found.volume.get("Labels") or {}):
        raise Problem("share-of-share", f"volume {place} is another machine's share itself")
    return reachable(found)


_OPS: Dict[str, Callable[[Host, Mapping[str, Any]], Dict[str, Any]]] = {
    "check-server": _check_server,
    "check-client": _check_client,
    "check-way": _check_way,
    "key": _key,
    "serve": _serve,
    "attach": _attach,
    "detach": _detach,
    "unserve": _unserve,
    "show": _show,
}
