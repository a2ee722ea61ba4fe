"""`machinectl regenerate-certs NAME…`: new certificates for machines, all or those that are due."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from machinectl.cli.become_flag import add_become_flag, ask_become
from machinectl.cli.words import names_or_default
from machinectl.errors import UsageError

if TYPE_CHECKING:
    from machinectl.actions.regenerate import Renewed

EXAMPLES = """examples:
  machinectl regenerate-certs node1
  machinectl regenerate-certs -f --client-certs node1 node2
  machinectl regenerate-certs -f --all          # every machine of the store
  machinectl regenerate-certs -f --due          # those whose certificates end within 30 days

Keys are new as well, registries' included; the CA stays. dockerd restarts to take its certificate over; containers
go on (live-restore).
`provision` renews what ends within 30 days, too.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """docker-machine's flags, and which machines."""
    parser.epilog = EXAMPLES
    parser.add_argument("names", nargs="*", metavar="NAME", help="machines; default: the machine `default`")
    parser.add_argument("-f", "--force", action="store_true", help="don't ask")
    parser.add_argument(
        "--client-certs",
        action="store_true",
        help="this store's client certificate as well, for all machines",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="every machine of the store")
    which.add_argument("--due", action="store_true", help="machines whose certificates end within 30 days")
    add_become_flag(parser)


def run(args: argparse.Namespace) -> int:
    """A line for every machine on stdout; exit status 3 where several were asked and some failed."""
    from machinectl.actions.fleet import raise_failures  # noqa: PLC0415 - --help must not wait for it
    from machinectl.actions.regenerate import due_machines, regenerate  # noqa: PLC0415
    from machinectl.store.store import Store  # noqa: PLC0415

    store = Store(args.storage_path)
    if args.names and (args.all or args.due):
        raise UsageError("names, --all and --due exclude each other")
    if args.due:
        names = due_machines(store)
    else:
        names = store.names() if args.all else names_or_default(args.storage_path, args.names)
    names = list(dict.fromkeys(names))
    if not names:
        print("no machine's certificates are due" if args.due else "there are no machines", file=sys.stderr)
        return 0
    for name in names:
        store.load(name)  # before the question: an unknown name is none
    if not (args.force or _confirmed()):
        return 0
    outcomes = regenerate(store, names, client=args.client_certs, become=ask_become(args), quiet=args.quiet)
    for one in outcomes:
        if one.result:
            print(f"{one.name}: {sentence(one.result)}")
    sys.stdout.flush()
    raise_failures(outcomes)
    return 0


def sentence(done: Renewed) -> str:
    """Until when, and whether it was time."""
    until = f"new certificates, good until {done.after:%Y-%m-%d}" if done.after else "new certificates"
    if done.due and done.before:
        return f"{until}; they were due: {done.before:%Y-%m-%d}"
    return until


def _confirmed() -> bool:
    try:
        # docker-machine's words
        answer = input("Regenerate TLS machine certs?  Warning: this is irreversible. (y/n): ")
        return answer.lower().startswith("y")
    except EOFError:
        return False
