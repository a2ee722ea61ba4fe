"""Owners of files as they travel: `user:group`, by name where there is one."""

from __future__ import annotations

import functools
from typing import Tuple


def owner_words(uid: int, gid: int) -> str:
    import grp  # noqa: PLC0415 - cheap, and nobody else's
    import pwd  # noqa: PLC0415

    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    try:
        return f"{user}:{grp.getgrgid(gid).gr_name}"
    except KeyError:
        return f"{user}:{gid}"


@functools.lru_cache(4096)
def owner_ids(words: str) -> Tuple[int, int]:
    """By name where this host has it, else by number; -1 for a name that it does not have: that is left as it is."""
    import grp  # noqa: PLC0415 - with owners only
    import pwd  # noqa: PLC0415

    user, _, group = words.partition(":")
    try:
        uid = int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid
    except KeyError:
        uid = -1
    try:
        gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        gid = -1
    return uid, gid
