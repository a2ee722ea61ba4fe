"""The system's ssh command for a machine: same host keys, keys and jump hosts as our own connections."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from machinectl.model import SshAddress
from machinectl.remote.deadline import Deadline
from machinectl.remote.sshconfig import Settings, plan_hops

_OPTIONS = (
    # What we pinned is what counts: never ask, never write into the store.
    "StrictHostKeyChecking=yes",
    "UpdateHostKeys=no",
    "CheckHostIP=no",
    "ConnectTimeout=15",
    "ServerAliveInterval=15",
    "LogLevel=ERROR",
)


def ssh_command(address: SshAddress, known_hosts: Path, deadline: float = 15.0) -> list[str]:
    """`ssh` with everything up to the host; a remote command may follow. Raises `ConnectionFailed`."""
    hops = plan_hops(address, Deadline(deadline), base=known_hosts.parent)
    return render_ssh(hops, known_hosts, key=bool(address.key), config=address.config)


def render_ssh(hops: Sequence[Settings], known_hosts: Path, *, key: bool, config: str = "") -> list[str]:
    """Pure. `hops` as `plan_hops` gives them; `key`: the last hop's key was named and is the only one.

    Jump hosts become a ProxyCommand: with -J ssh would hand its own options, the pinned host keys among them,
    to the last hop only.
    """
    command: list[str] = []
    target = hops[-1]
    for hop in hops:
        is_last = hop is target
        before, command = command, ["ssh"]
        if config:
            command += ["-F", str(Path(config).expanduser())]
        for option in (*_options(hop, known_hosts), *_OPTIONS):
            command += ["-o", option]
        if before:
            through = [*before[:-1], "-W", _place(hop), before[-1]]
            command += ["-o", "ProxyCommand=" + shlex.join(through).replace("%", "%%")]
        if key:
            command += ["-i", str(target.identity_files[0])]
            command += ["-o", "IdentitiesOnly=yes"] if is_last else []
        command += ["-l", hop.user, "-p", str(hop.port), hop.alias]
    return command


def _options(hop: Settings, known_hosts: Path) -> list[str]:
    files = " ".join(f'"{one}"'.replace("%", "%%") for one in (known_hosts, *hop.known_hosts))
    return [f"UserKnownHostsFile={files}", f"HostKeyAlias={hop.known_as}"]


def _place(hop: Settings) -> str:
    return f"[{hop.host}]:{hop.port}" if ":" in hop.host else f"{hop.host}:{hop.port}"
