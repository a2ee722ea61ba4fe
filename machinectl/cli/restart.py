"""`machinectl restart NAME…`: reboots hosts and waits for their engines."""

from __future__ import annotations

import argparse
import sys

from machinectl.cli.become_flag import ask_become
from machinectl.cli.power import configure_power, machine_names
from machinectl.cli.words import seconds

EXAMPLES = """examples:
  machinectl restart node1
  machinectl restart --timeout 900 big1 big2

Reboots the whole host, and returns when another boot than before answers SSH and its engine answers over TLS. An
engine that was stopped runs afterwards. For dockerd alone: machinectl ssh NAME -- systemctl restart docker
"""


def configure(parser: argparse.ArgumentParser) -> None:
    configure_power(parser, EXAMPLES)
    parser.add_argument(
        "-t",
        "--timeout",
        default="",
        metavar="SECONDS",
        help="for each reboot, until the engine answers (300)",
    )


def run(args: argparse.Namespace) -> int:
    from machinectl.actions.fleet import raise_failures  # noqa: PLC0415 - --help must not wait for it
    from machinectl.actions.power import REBOOT_DEADLINE, restart  # noqa: PLC0415
    from machinectl.store.store import Store  # noqa: PLC0415

    within = seconds(args.timeout, REBOOT_DEADLINE)
    names = machine_names(args)
    store = Store(args.storage_path)
    outcomes = restart(store, names, become=ask_become(args), quiet=args.quiet, deadline=within)
    for one in outcomes:
        if one.result is not None:
            print(f'Machine "{one.name}" was restarted ({one.result:.0f} s).')
    sys.stdout.flush()
    raise_failures(outcomes)
    return 0
