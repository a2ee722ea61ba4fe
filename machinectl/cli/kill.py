"""`machinectl kill NAME…`: stop, at once and by force."""

from __future__ import annotations

import argparse

from machinectl.cli.power import configure_power, run_power
from machinectl.cli.stop import add_containers_flag

EXAMPLES = """examples:
  machinectl kill node1
  machinectl kill --containers node1

As `stop`, but dockerd gets SIGKILL instead of time to end. For an engine that hangs.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    configure_power(parser, EXAMPLES)
    add_containers_flag(parser)


def run(args: argparse.Namespace) -> int:
    return run_power(args, "kill", containers=args.containers)
