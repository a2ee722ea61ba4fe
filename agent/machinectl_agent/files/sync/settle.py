"""The parts of a sync at its target that need no contents: room for what comes, and what is left to do after it."""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import Any, Dict, Mapping

from machinectl_agent.files.sync.below import Below
from machinectl_agent.files.sync.listing import TEMPORARY, problem_of, stale
from machinectl_agent.files.sync.place import clear, remove, replacing, set_attributes
from machinectl_agent.problems import Problem


def prepare(args: Mapping[str, Any], _session: Any) -> Dict[str, Any]:
    """args: target, clear (paths of another kind that are in the way), folders, links ([path, where it leads]), and
    `delete`, `exclude` as in `replacing`. The target itself is made, the folder above it must be there."""
    target = str(args["target"]) or "."
    way = replacing(args)
    path = ""
    try:
        if not os.path.isdir(target):
            os.mkdir(target)
        with Below(target) as below:
            for path in args["clear"]:
                folder, name = below.parent(path)
                clear(folder, name, below.shown(path))
            for path in args["folders"]:
                folder, name = below.parent(path)
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=folder)
            for path, leads in args["links"]:
                folder, name = below.parent(path)
                temporary = f"{TEMPORARY}{os.getpid()}.{secrets.token_hex(4)}"
                os.symlink(leads, temporary, dir_fd=folder)
                try:
                    way.take_place(folder, temporary, name, path, below.shown(path))
                except BaseException:
                    os.unlink(temporary, dir_fd=folder)
                    raise
    except FileNotFoundError as error:
        raise Problem(
            "no-such-file",
            f"{target} can't be made",
            why=error.strerror or "",
            hint="the folder above the target must be there: machinectl exec NAME -- mkdir -p FOLDER",
        ) from error
    except OSError as error:
        raise problem_of(error, os.path.join(target, path)) from error
    return {}


def settle(args: Mapping[str, Any], _session: Any) -> Dict[str, Any]:
    """args: target, delete (what is in a folder before the folder), attributes ([path, mode, time, owner], folders
    after what is in them), owners → deleted, kept (folders that were not empty)."""
    target = str(args["target"]) or "."
    owners = bool(args.get("owners"))
    deleted, kept = 0, []
    sweep(target)
    path = ""
    try:
        with Below(target) as below:
            for path in args["delete"]:
                with contextlib.suppress(FileNotFoundError):
                    if remove(*below.parent(path)):
                        kept.append(path)
                    else:
                        deleted += 1
            for path, mode, time, owner in args["attributes"]:
                with contextlib.suppress(FileNotFoundError):
                    set_attributes(*below.parent(path), mode, time, owner if owners else "")
    except OSError as error:
        raise problem_of(error, os.path.join(target, path)) from error
    return {"deleted": deleted, "kept": kept}


def sweep(target: str) -> None:
    """Files of syncs that were killed outright."""
    for _, _, names, folder in os.fwalk(target):
        for name in names:
            if stale(name):
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=folder)
