"""`machinectl stop NAME…`: the engine stops and stays stopped."""

from __future__ import annotations

import argparse

from machinectl.cli.power import configure_power, run_power

EXAMPLES = """examples:
  machinectl stop node1
  machinectl stop --containers node1 node2

The engine stays stopped, over reboots and `provision`, until `machinectl start`; `ls` says Stopped. The host goes
on running, and so do containers (live-restore) unless --containers ends them: SIGTERM, SIGKILL after 10 s.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    configure_power(parser, EXAMPLES)
    add_containers_flag(parser)


def add_containers_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--containers",
        action="store_true",
        help="end the running containers as well, once the engine is down",
    )


def run(args: argparse.Namespace) -> int:
    return run_power(args, "stop", containers=args.containers)
