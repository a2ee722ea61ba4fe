"""sshfs's command for a folder of a machine: reached exactly as our own connections and `machinectl ssh` do."""

from __future__ import annotations

from collections.abc import Sequence

from machinectl.errors import UsageError

_ALWAYS = ("reconnect", "sshfs_verbose")
"""A laptop that slept finds its folders again; what ssh itself says is not thrown away."""


def render_sshfs(ssh: Sequence[str], path: str, mountpoint: str, options: Sequence[str] = ()) -> list[str]:
    """Pure. `ssh` is what `openssh.ssh_command` gives; sshfs knows its options, but each under -o, and takes user
    and host in front of the path. `options`: sshfs's own, by whoever mounts."""
    words = iter(ssh[1:-1])
    told: list[str] = []
    user = ""
    for word in words:
        value = next(words)
        if word == "-F":
            told += ["-F", value]
        elif word == "-l":
            user = value
        elif word == "-o":
            told += ["-o", _escaped(value)]
        elif word == "-p":
            told += ["-o", f"Port={value}"]
        elif word == "-i":  # as an option it is read as a line of ssh_config is
            told += ["-o", _escaped('IdentityFile="{}"'.format(value.replace("%", "%%")))]
        else:
            raise UsageError(f"sshfs can't be told ssh's option {word}")
    host = f"[{ssh[-1]}]" if ":" in ssh[-1] else ssh[-1]
    for one in (*_ALWAYS, *options):
        told += ["-o", one]
    return ["sshfs", *told, "--", f"{user}@{host}:{path}", mountpoint]


def _escaped(value: str) -> str:
    """fuse_opt_parse(3) ends an option at a comma and takes a backslash for an escape."""
    return value.replace("\\", "\\\\").replace(",", "\\,")
