"""`machinectl start NAME…`: the engine runs again, now and at every boot."""

from __future__ import annotations

import argparse

from machinectl.cli.power import configure_power, run_power

EXAMPLES = """examples:
  machinectl start node1
  machinectl start node1 node2

Takes `machinectl stop` back. Waits until the engine answers over TLS. A host that is powered off can't be reached by
SSH: switch it on.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    configure_power(parser, EXAMPLES)


def run(args: argparse.Namespace) -> int:
    return run_power(args, "start")
