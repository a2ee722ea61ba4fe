"""Owners by their names."""

from __future__ import annotations

import functools
import grp
import pwd


@functools.lru_cache(4096)
def user_name(uid: int) -> bytes:
    """Empty: it has none."""
    try:
        return pwd.getpwuid(uid).pw_name.encode()
    except KeyError:
        return b""


@functools.lru_cache(4096)
def group_name(gid: int) -> bytes:
    try:
        return grp.getgrgid(gid).gr_name.encode()
    except KeyError:
        return b""


@functools.lru_cache(4096)
def user_id(name: bytes, other: int) -> int:
    """`other`: where nobody here is called so."""
    try:
        return pwd.getpwnam(name.decode()).pw_uid
    except (KeyError, UnicodeDecodeError):
        return other


@functools.lru_cache(4096)
def group_id(name: bytes, other: int) -> int:
    try:
        return grp.getgrnam(name.decode()).gr_gid
    except (KeyError, UnicodeDecodeError):
        return other
