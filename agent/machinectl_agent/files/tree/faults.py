"""What the system says about files, as problems with one clear text each."""

from __future__ import annotations

import errno
import os
from typing import Dict, Tuple

from machinectl_agent.problems import Problem

_KNOWN: Dict[int, Tuple[str, str, str]] = {
    # errno: (problem, what, hint)
    errno.ENOENT: ("no-such-file", "there is no {path}", ""),
    errno.EACCES: (
        "permission-denied",
        "{path}: permission denied",
        "{user}USER@MACHINE:PATH is another user",
    ),
    errno.EPERM: ("permission-denied", "{path}: not permitted", "{user}USER@MACHINE:PATH is another user"),
    errno.ENOSPC: ("disk-full", "{path}: the disk is full", "make room: `df -h` there says where"),
    errno.EDQUOT: ("disk-full", "{path}: the user's quota is used up", "make room, or raise the quota"),
    errno.ENOTDIR: ("not-a-folder", "{path}: part of it is no folder", ""),
    errno.EISDIR: ("is-a-folder", "{path} is a folder", "-r copies folders"),
    errno.EROFS: ("read-only", "{path}: the file system is read-only", ""),
    errno.EFBIG: ("too-large", "{path}: the file is too large for its file system", ""),
    errno.ENAMETOOLONG: ("name-too-long", "{path}: the name is too long there", ""),
    errno.ELOOP: ("link-loop", "{path}: symbolic links lead in a circle", ""),
    errno.ENODEV: ("no-device", "{path}: it can't be opened", ""),
}


def problem_of(error: OSError, path: bytes) -> Problem:
    """`path`: what it was about, as the person knows it."""
    shown = show(path)
    known = _KNOWN.get(error.errno or 0)
    if known is None:
        return Problem("file-fault", f"{shown}: {(error.strerror or str(error)).lower()}")
    code, what, hint = known
    user = f"we are the user {_user()}; " if "{user}" in hint else ""
    return Problem(code, what.format(path=shown), hint=hint.format(user=user))


def show(path: bytes) -> str:
    """For people: on one line, whatever is in it."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def to_bytes(text: str) -> bytes:
    """A path as it comes in JSON: UTF-8, single surrogates for bytes that are none."""
    return text.encode("utf-8", "surrogateescape")


def to_text(path: bytes) -> str:
    """The reverse."""
    return path.decode("utf-8", "surrogateescape")


def changed(path: bytes) -> Problem:
    return Problem(
        "source-changed",
        f"{show(path)} changed while it was copied",
        hint="copy it when nobody writes to it, or a snapshot of it",
    )


def _user() -> str:
    import pwd  # noqa: PLC0415 - only where something failed

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
