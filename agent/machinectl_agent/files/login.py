"""Becoming the user whose files are meant: their permissions, their owner, their home, as after a login."""

from __future__ import annotations

import os
import pwd

from machinectl_agent.problems import Problem


def become_user(name: str) -> None:
    """For good. Empty: whoever we are. In the user's home afterwards, where relative paths begin."""
    own = pwd.getpwuid(os.geteuid()) if not name else _find(name)
    if own.pw_uid != os.geteuid():
        if os.geteuid():
            raise Problem(
                "no-other-user",
                f"{pwd.getpwuid(os.geteuid()).pw_name} can't become {own.pw_name}",
                why="only root becomes other users",
            )
        os.initgroups(own.pw_name, own.pw_gid)
        os.setgid(own.pw_gid)
        os.setuid(own.pw_uid)
    os.umask(0o022)
    os.environ.update(HOME=own.pw_dir, USER=own.pw_name, LOGNAME=own.pw_name)
    try:
        os.chdir(own.pw_dir)
    except OSError:
        os.chdir("/")  # as sshd does for a user without a home


def _find(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise Problem(
            "no-such-user", f"there is no user {name} on this host", hint="USER@MACHINE:PATH names one"
        ) from None
