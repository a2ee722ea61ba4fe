"""The ends of a carry of the kind `volume`: a volume or folder, or the file of a backup."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Dict, List, Mapping

from machinectl_agent.files.tree.folders import opened
from machinectl_agent.files.tree.settling import Settling
from machinectl_agent.host import Host
from machinectl_agent.problems import Problem
from machinectl_agent.volumes import record, staging, undo
from machinectl_agent.volumes.compress import GZIP, NONE, ZSTD, Squeezer, has_zstd, zstd_missing
from machinectl_agent.volumes.exchange import sync_folder
from machinectl_agent.volumes.frame import render_head, render_trailer
from machinectl_agent.volumes.holding import LIVE, PAUSE, STALL, STOP, Hold
from machinectl_agent.volumes.mounts import check_no_mounts
from machinectl_agent.volumes.place import (
    Place,
    bound_folder,
    check_replaceable,
    find_place,
    is_path,
    need_place,
    reachable,
)
from machinectl_agent.volumes.receive import unpack
from machinectl_agent.volumes.shared import check_unshared, warn_of_shares
from machinectl_agent.volumes.stored import store_stream
from machinectl_agent.volumes.tree import check_tar, digest_tree, write_tree
from machinectl_agent.volumes.users import check_not_paused, users_of
from machinectl_agent.volumes.where import overlap, where

if TYPE_CHECKING:
    from machinectl_agent.session import Session

CHUNK = 1024 * 1024

PART = 64 * 1024 * 1024
"""Bytes of which the disk gets to work while more come."""


def produce(args: Mapping[str, Any], sink: BinaryIO, session: Session) -> Dict[str, Any]:
    """args: file; or name, action (pause, stop, live), stall, unused (refuse where a container has it), apart (tell
    the other end where it is), compress (zstd, gzip, none, or empty: what there is), reader_has_zstd, machine (its
    name, for the head)."""
    if args.get("file"):
        return _send_file(str(args["file"]), sink)
    return _send(args, sink, session)


def consume(args: Mapping[str, Any], source: BinaryIO, session: Session) -> Dict[str, Any]:
    """args: file, compress; or name, replace, stop, plain, with_options (a volume is made with driver and options of
    the head's, whatever they lead to), strict (warnings are errors), verify (`tree`: the copy is
    read again), apart (refuse where the source is the same data)."""
    if args.get("file"):
        return _store_file(str(args["file"]), str(args.get("compress", "")), source)
    return _receive(args, source, session)


def _send(args: Mapping[str, Any], sink: BinaryIO, session: Session) -> Dict[str, Any]:
    undo.sweep(session.log)
    check_tar(Host())
    place = need_place(str(args["name"]))
    folder = reachable(place)
    if args.get("unused"):
        from machinectl_agent.volumes.ops import check_removable  # noqa: PLC0415 - only for a migrate

        check_removable(place)
    else:
        warn_of_shares(place, session.log)
    action = str(args.get("action", PAUSE))
    kind = _choose(str(args.get("compress", "")), bool(args.get("reader_has_zstd")), session)
    squeezer = Squeezer(kind, sink)
    try:
        with Hold(place, action, session, stall=float(args.get("stall") or STALL)) as hold:
            about = _about(place, str(args.get("machine", "")), action, hold.names)
            head = render_head({**about, "Where": where(folder)} if args.get("apart") else about)
            squeezer.write(head)
            try:
                digest = write_tree(
                    folder, squeezer.write, live=action == LIVE, beat=hold.beat, log=session.log
                )
            except Problem as problem:
                if problem.code == "volume-changed":
                    hold.end()  # which says so where nobody held the containers any more: that is why, then
                raise
            since = time.time()
            hold.end()
        squeezer.write(render_trailer(digest, head))
        squeezer.close()
    finally:
        squeezer.abandon()
    return {**digest.to_json(), "compressed": kind, "held": hold.names, "since": since}


def _choose(wanted: str, reader_has_zstd: bool, session: Session) -> str:
    """What this end compresses by. The reader does it where only it has zstd."""
    if wanted in (GZIP, NONE):
        return wanted
    if has_zstd():
        return ZSTD
    if reader_has_zstd:
        return NONE
    if wanted == ZSTD:
        raise zstd_missing("on either side")
    session.log("zstd is not installed: compressing by gzip, which is slower")
    return GZIP


def _about(place: Place, machine: str, action: str, held: List[str]) -> Dict[str, Any]:
    driver, options, labels = staging.wished(place.volume or {})
    return {
        "Name": place.name,
        "Driver": driver,
        "Options": options,
        "Labels": labels,
        "Machine": machine,
        "Time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "Consistent": action != LIVE,
        "Containers": held,
    }


def _receive(args: Mapping[str, Any], source: BinaryIO, session: Session) -> Dict[str, Any]:
    name, replace, stop = str(args["name"]), bool(args.get("replace")), bool(args.get("stop"))
    undo.sweep(session.log)
    staging.sweep(session.log)
    check_tar(Host())
    place = check_target(name, replace=replace, stop=stop)
    head, arrived = unpack(source, session.log)
    with arrived:
        apart = head.pop("Where", None) if args.get("apart") else None
        if place is not None or is_path(name):
            _check_apart(apart, head, name, place.folder if place else name)
        about = _wanted(args, head, place, session)
        staged = staging.Staging(name, about)
        try:
            _check_apart(apart, head, name, staged.folder)
            with opened(os.fsencode(staged.folder)) as folder:
                settling = Settling(folder, PART)
            try:
                digest = arrived.extract(
                    staged.folder,
                    strict=bool(args.get("strict")),
                    wrote=lambda size: settling.wrote(size, few=arrived.few),
                )
                settling.settle(few=arrived.few)
            finally:
                settling.finish()
            if args.get("verify") == "tree":
                _compare(digest_tree(staged.folder).sha256, digest.sha256)
            place = check_target(name, replace=replace, stop=stop)
            if place is None:
                staged.switch()
            else:
                with Hold(place, STOP if stop else LIVE, session, everyone=True) as hold:
                    staged.switch()
                    hold.end(judge=False)
        finally:
            staged.discard()
    return {**digest.to_json(), "head": head}


def check_target(name: str, *, replace: bool, stop: bool) -> Any:
    """The place, None where there is none yet. Raises `Problem` where nothing may be put there."""
    place = find_place(name)
    if place is None:
        return None
    if place.volume is None or bound_folder(place.volume):
        check_replaceable(place.folder)
    check_no_mounts(place.folder)
    check_unshared(place)
    staging.check_free(place, replace=replace)
    users = users_of(place)
    if stop:
        # those that another copy has paused go on before ours is the turn
        held = record.held()
        check_not_paused([one for one in users if one.id not in held])
    running = [one for one in users if one.direct and (one.runs or one.state == "paused")]
    if running and not stop:
        raise Problem(
            "volume-in-use",
            f"{name} is in use by {', '.join(one.name for one in running)}",
            why="a running container would go on with files that are no longer there",
            hint="--stop stops them for the moment of the change",
        )
    return place


def _wanted(args: Mapping[str, Any], head: Dict[str, Any], place: Any, session: Session) -> Dict[str, Any]:
    """The head by which a volume is made where there is none."""
    if args.get("plain") or args.get("with_options"):
        return {} if args.get("plain") else head
    if place is None and not is_path(str(args["name"])) and not staging.plain(head):
        session.log(
            f"volume {args['name']} is made as a plain one: what it comes from was a mount or of another driver "
            "(--with-options makes it like that)"
        )
    return staging.harmless(head)


def _check_apart(source: Any, head: Mapping[str, Any], name: str, folder: str) -> None:
    """A source that goes after the copy must not take it along."""
    how = overlap(source, where(folder)) if source and folder else ""
    if how:
        raise Problem(
            "same-data",
            f"{head['Machine']}:{head['Name']} and {name} on this machine {how}",
            why="both names lead to one folder",
            hint="name another destination",
        )


def _compare(found: str, wanted: str) -> None:
    if found != wanted:
        raise Problem(
            "copy-differs",
            "what is on the machine now is not what was sent: it was given up",
            why="a disk that errs; or a file system that keeps holes, attributes or ACLs in another way",
            hint="for the latter: leave out --verify tree",
        )


def _send_file(name: str, sink: BinaryIO) -> Dict[str, Any]:
    size = 0
    try:
        with Path(name).open("rb") as file:
            while part := file.read(CHUNK):
                sink.write(part)
                size += len(part)
    except OSError as error:
        raise Problem("file", f"{name} can't be read", why=error.strerror or str(error)) from error
    return {"size": size}


def _store_file(name: str, compress: str, source: BinaryIO) -> Dict[str, Any]:
    """Whole or not at all: under another name, then renamed."""
    target = Path(name)
    temporary = target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            os.fchmod(file.fileno(), 0o600)
            digest, size = store_stream(source, file, compress)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        sync_folder(str(target.parent))
    except OSError as error:
        full = error.errno in (28, 122)
        raise Problem(
            "disk-full" if full else "file",
            f"{name} can't be written",
            why=error.strerror or str(error),
            hint="make room on the machine: `df -h` there says where" if full else "",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return {"size": size, "file_sha256": digest}
