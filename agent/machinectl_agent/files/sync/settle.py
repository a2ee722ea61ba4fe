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
    """args: target, steps, and `delete`, `exclude` as in `replacing`. The target itself is made, the folder above it
    must be there.

    Steps: ["clear", path] what is of another kind and in the way, ["folder", path], ["link", path, where it leads].
    """
    target = str(args["target"]) or "."
    way = replacing(args)
    path = ""
    try:
        if not os.path.isdir(target):
            os.mkdir(target)
        with Below(target) as below:
            for verb, path, *more in args["steps"]:
                folder, name = below.parent(path)
                if verb == "clear":
                    clear(folder, name, below.shown(path))
                elif verb == "folder":
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(name, dir_fd=folder)
                else:
                    temporary = f"{TEMPORARY}{os.getpid()}.{secrets.token_hex(4)}"
                    os.symlink(more[0], temporary, dir_fd=folder)
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
    """args: target, steps, owners (whether they are set), sweep (whether the first part is this) → deleted, kept: how
    many, and how many folders were not empty.

    Steps, what is in a folder before the folder: ["delete", path], ["set", path, mode, time, owner].
    """
    target = str(args["target"]) or "."
    owners = bool(args.get("owners"))
    deleted = kept = 0
    path = ""
    try:
        if args.get("sweep"):
            sweep(target)
        with Below(target) as below:
            for verb, path, *more in args["steps"]:
                with contextlib.suppress(FileNotFoundError):
                    folder, name = below.parent(path)
                    if verb == "set":
                        mode, time, owner = more
                        set_attributes(folder, name, mode, time, owner if owners else "")
                    elif remove(folder, name):
                        kept += 1
                    else:
                        deleted += 1
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
