"""The parts of a sync at its target that need no contents: room for what comes, and what is left to do after it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, Dict, Mapping

from machinectl_agent.files.sync.changes import checked, clear, set_owner, take_place
from machinectl_agent.files.sync.listing import TEMPORARY, problem_of
from machinectl_agent.problems import Problem


def prepare(args: Mapping[str, Any], _session: Any) -> Dict[str, Any]:
    """args: target, clear (paths of another kind that are in the way, folders after what is in them), folders, links
    ([path, where it leads]). The target itself is made, the folder above it must be there."""
    target = str(args["target"]) or "."
    try:
        if not os.path.isdir(target):
            os.mkdir(target)
        for path in args["clear"]:
            clear(os.path.join(target, checked(path)))
        for path in args["folders"]:
            with contextlib.suppress(FileExistsError):
                os.mkdir(os.path.join(target, checked(path)))
        for path, leads in args["links"]:
            final = os.path.join(target, checked(path))
            temporary = os.path.join(os.path.dirname(final), f"{TEMPORARY}{os.getpid()}.link")
            os.symlink(leads, temporary)
            try:
                take_place(temporary, final)
            except BaseException:
                os.unlink(temporary)
                raise
    except FileNotFoundError as error:
        raise Problem(
            "no-such-file",
            f"{target} can't be made",
            why=error.strerror or "",
            hint="the folder above the target must be there: machinectl exec NAME -- mkdir -p FOLDER",
        ) from error
    except OSError as error:
        raise problem_of(error) from error
    return {}


def settle(args: Mapping[str, Any], _session: Any) -> Dict[str, Any]:
    """args: target, delete (what is in a folder before the folder), attributes ([path, mode, time, owner], folders
    after what is in them), owners → deleted, kept (folders that were not empty)."""
    target = str(args["target"]) or "."
    deleted, kept = 0, []
    sweep(target)
    try:
        for path in args["delete"]:
            real = os.path.join(target, checked(path))
            try:
                if os.path.isdir(real) and not os.path.islink(real):
                    os.rmdir(real)
                else:
                    os.unlink(real)
                deleted += 1
            except FileNotFoundError:
                continue
            except OSError:
                if not os.path.isdir(real):
                    raise
                kept.append(path)
        for path, mode, time, owner in args["attributes"]:
            _set(os.path.join(target, checked(path)), int(mode), int(time), str(owner), args)
    except OSError as error:
        raise problem_of(error) from error
    return {"deleted": deleted, "kept": kept}


def _set(path: str, mode: int, time: int, owner: str, args: Mapping[str, Any]) -> None:
    try:
        if args.get("owners"):
            set_owner(path, owner)
        if not os.path.islink(path):
            os.chmod(path, mode)
        os.utime(path, ns=(time, time), follow_symlinks=False)
    except FileNotFoundError:
        pass  # it changed while it was read, and was left out


def sweep(target: str) -> None:
    """Files of syncs that were killed outright."""
    for folder, _, names in os.walk(target):
        for name in names:
            if name.startswith(TEMPORARY) and not Path(f"/proc/{name.split('.')[2]}").exists():
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(folder, name))
