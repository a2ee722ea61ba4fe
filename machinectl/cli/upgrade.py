"""`machinectl upgrade NAME…`: the newest Docker Engine that a machine's source offers."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from machinectl.cli.become_flag import add_become_flag, ask_become
from machinectl.cli.counts import count
from machinectl.cli.words import names_or_default

if TYPE_CHECKING:
    from machinectl.actions.upgrade import Upgrade

EXAMPLES = """examples:
  machinectl upgrade node1
  machinectl upgrade node1 node2 node3          # one after the other
  machinectl upgrade --engine-version 26.1 node1
  machinectl upgrade --unpin --at-once 5 web1 web2 web3 web4 web5 web6

The source stays what it is: the distribution, or Docker's repository (--engine-mirror). A pinned version is kept: a
pin of 26.1 takes 26.1.5 and not 27.0. Containers survive (live-restore). After every machine its engine and the
containers that ran before must run, else the others are left as they are.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("names", nargs="*", metavar="NAME", help="machines; default: the machine `default`")
    pin = parser.add_mutually_exclusive_group()
    pin.add_argument(
        "--engine-version", metavar="VERSION", help="pin to this version from now on; may go back"
    )
    pin.add_argument("--unpin", action="store_true", help="no version is pinned any more")
    parser.add_argument(
        "--at-once", type=count, default=1, metavar="N", help="machines at the same time (default 1)"
    )
    parser.add_argument("--keep-going", action="store_true", help="go on where a machine has failed")
    add_become_flag(parser)


def run(args: argparse.Namespace) -> int:
    """A line for every machine on stdout; exit status 3 where several were asked and some failed."""
    from machinectl.actions.fleet import raise_failures  # noqa: PLC0415 - --help must not wait for it
    from machinectl.actions.upgrade import upgrade  # noqa: PLC0415
    from machinectl.store.store import Store  # noqa: PLC0415

    outcomes = upgrade(
        Store(args.storage_path),
        list(dict.fromkeys(names_or_default(args.storage_path, args.names))),
        become=ask_become(args),
        quiet=args.quiet,
        version="" if args.unpin else args.engine_version,
        at_once=args.at_once,
        keep_going=args.keep_going,
    )
    for one in outcomes:
        if one.result:
            print(f"{one.name}: {sentence(one.result)}")
    sys.stdout.flush()
    raise_failures(outcomes)
    return 0


def sentence(done: Upgrade) -> str:
    """What became of it, and why it is no newer."""
    pinned = f" (pinned to {done.pin})" if done.pin else ""
    if done.before != done.after:
        return f"{done.before} is now {done.after}{pinned}"
    if done.package:
        return f"{done.after} has a newer package: {done.package}{pinned}"
    if done.pin:
        return f"{done.after} stays: it is pinned to {done.pin}, and no newer one fits"
    return f"{done.after} is the newest that its source offers"
