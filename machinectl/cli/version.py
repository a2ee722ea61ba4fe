"""`machinectl version [NAME]`: our own version, or a machine's engine's."""

from __future__ import annotations

import argparse
from pathlib import Path

from machinectl_agent.version import __version__

EXAMPLES = """examples:
  machinectl version          # this program
  machinectl version node1    # the Docker Engine on node1
"""

WITHIN = 5.0
"""Seconds."""


def configure(parser: argparse.ArgumentParser) -> None:
    """One optional name; no default machine here, as in docker-machine."""
    parser.epilog = EXAMPLES
    parser.add_argument("name", nargs="?", metavar="NAME")


def run(args: argparse.Namespace) -> int:
    """Raises EngineUnreachable: `Host is not running` where nothing answers."""
    if args.name is None:
        print(f"machinectl version {__version__}")
        return 0
    from machinectl.cli.endpoints import engine_port, require_listening  # noqa: PLC0415 - only with a name
    from machinectl.remote.engine_client import engine_version  # noqa: PLC0415
    from machinectl.store.records import machine_folder, read_machine  # noqa: PLC0415

    record = read_machine(args.storage_path, args.name)
    require_listening(record)
    folder = Path(machine_folder(args.storage_path, args.name))
    print(engine_version(record["ip"], engine_port(record), folder, WITHIN)["Version"])
    return 0
