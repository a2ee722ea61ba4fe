"""rsync's command for a folder and a machine: reached exactly as our own connections are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from machinectl.errors import UsageError
from machinectl_agent.files.sync.listing import UNFINISHED

IDLE = 120
"""Seconds without a byte, after which rsync gives up; it keeps a busy other side alive itself."""


_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Wish:
    """What both ways of a sync are told alike."""

    delete: bool = False
    dry_run: bool = False
    checksum: bool = False
    """Contents are compared also where size and time are the same."""
    archive: bool = False
    """Owners, groups, hard links and devices, too."""
    compress: bool = False
    limit_rate: int = 0
    """Bytes per second; 0: as fast as it goes."""
    exclude: tuple[str, ...] = ()
    recursive: bool = True
    follow: bool = False
    """Symbolic links mean what they lead to."""


def render_rsync(
    ssh: Sequence[str],
    sources: Sequence[str],
    target: str,
    wish: Wish,
    *,
    push: bool,
    there: str = "",
) -> list[str]:
    """Pure. `ssh` is what `openssh.ssh_command` gives; `push`: `target` is the machine's path and `sources` are
    local ones, else the other way round. `there`: the machine's rsync (`render_as`)."""
    options = ["--recursive"] if wish.recursive else []
    options += ["--copy-links" if wish.follow else "--links", "--perms", "--times"]
    # it would take two changes in one second for none
    options += ["--modify-window=-1"]
    if wish.archive:
        options += ["--owner", "--group", "--devices", "--specials", "--hard-links", "--sparse"]
    # names go to the other side by the protocol, past its shell
    options += ["--protect-args", "--no-human-readable", "--stats", f"--timeout={IDLE}"]
    options += ["--dry-run", "--out-format=%i %n"] if wish.dry_run else ["--info=progress2", "--outbuf=L"]
    options += ["--delete"] if wish.delete else []
    options += ["--checksum"] if wish.checksum else []
    options += ["--compress"] if wish.compress else []
    # rsync counts in units of 1024 bytes
    options += [f"--bwlimit={max(1, wish.limit_rate // 1024)}"] if wish.limit_rate else []
    # what another command of ours is at is neither sent nor deleted
    options += [f"--exclude={one}*" for one in UNFINISHED]
    options += [f"--exclude={one}" for one in wish.exclude]
    options += [f"--rsync-path={there}"] if there else []
    # nobody is there to be asked; a key that needs a passphrase is told as refused
    shell = [ssh[0], "-o", "BatchMode=yes", *ssh[1:-1]]
    host = f"[{ssh[-1]}]" if ":" in ssh[-1] else ssh[-1]
    command = ["rsync", *options, "-e", quoted(shell), "--"]
    if push:
        return [*command, *map(local_path, sources), f"{host}:{remote_path(target)}"]
    return [*command, *(f"{host}:{remote_path(one)}" for one in sources), local_path(target)]


def render_as(user: str, *, by_root: bool) -> str:
    """Pure: the words in a shell that start rsync as `user`, in that user's home. Raises UsageError."""
    if not _USER.fullmatch(user):
        raise UsageError(f"{user!r} is no user's name")
    become = "runuser -u" if by_root else "sudo -n -u"
    return f"{become} {user} -- sh -c 'cd ~{user} 2>/dev/null || cd /; exec rsync \"$@\"' rsync"


def quoted(words: Sequence[str]) -> str:
    """Words for rsync's -e, which knows quotes, in which a doubled one stands for itself, and no backslash."""
    return " ".join("'" + one.replace("'", "''") + "'" for one in words)


def local_path(path: str) -> str:
    """`a:b` would be a machine's, `-x` an option."""
    return path if path.startswith("/") else f"./{path}"


def remote_path(path: str) -> str:
    """rsync starts in the home folder, and expands nothing (--protect-args)."""
    if path == "~":
        return "./"
    path = path.removeprefix("~/")
    return f"./{path}" if path.startswith("-") else path
