"""`machinectl ssh NAME [ARG…]`: the system's ssh client on a machine, as docker-machine does it.

Everything after the name goes to ssh, its options as well. The exit status is the remote command's.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from machinectl.errors import UsageError
from machinectl.model import Machine
from machinectl.store.records import read_machine


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = "machinectl ssh [NAME] [--] [SSH OPTION…] [COMMAND [ARG…]]"
    parser.add_argument("name", nargs="?", default="default", help="the machine (default: default)")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="what ssh gets after the host")


def run(args: argparse.Namespace) -> int:
    machine = Machine.from_json(read_machine(args.storage_path, args.name))
    known_hosts = Path(args.storage_path) / "known_hosts"
    if shutil.which("ssh") is None:
        return _without_client(machine, known_hosts, args.arguments)
    from machinectl.remote.openssh import ssh_command  # noqa: PLC0415  # subprocess and tempfile: 10 ms

    command = ssh_command(machine.ssh, known_hosts)
    sys.stdout.flush()
    sys.stderr.flush()
    # In our place: signals, the terminal and the exit status are ssh's own.
    return os.execvp(command[0], [*command, *args.arguments])  # noqa: S606  # a list, no shell


def _without_client(machine: Machine, known_hosts: Path, arguments: list[str]) -> int:
    from machinectl.remote.become import Become  # noqa: PLC0415  # paramiko: 150 ms
    from machinectl.remote.connection import open_connection  # noqa: PLC0415
    from machinectl.remote.native_shell import run_shell  # noqa: PLC0415

    words = arguments[1:] if arguments[:1] == ["--"] else arguments
    if words[:1] and words[0].startswith("-"):
        raise UsageError(
            f"ssh's option {words[0]} needs an ssh client here",
            hint="install your distribution's openssh-client",
        )
    with open_connection(
        machine.ssh, machine=machine.name, known_hosts=known_hosts, become=Become("none")
    ) as connection:
        return run_shell(connection, " ".join(words))
