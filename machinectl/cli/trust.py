"""`machinectl trust ls|rm`: the stores that a machine's engine takes clients of."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from machinectl.cli.become_flag import add_become_flag, ask_become
from machinectl.cli.table import align
from machinectl.cli.words import names_or_default

if TYPE_CHECKING:
    from machinectl.pki.shared import Trusted

EXAMPLES = """examples:
  machinectl create --share --ip 192.168.1.10 node1      # in a second store: both use the host from now on
  machinectl trust ls node1
  machinectl trust rm node1 4f2a9c1d0b7e3a65

Every store has a CA. An engine takes clients of all CAs in /etc/docker/ca.pem; `--share` adds this store's. `trust
rm` takes another store's out: its clients are refused from then on.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    verbs = parser.add_subparsers(dest="verb", metavar="ls|rm", required=True)
    ls = verbs.add_parser("ls", help="the CAs that machines' engines trust, asked over SSH")
    ls.add_argument("names", nargs="*", metavar="NAME", help="default: the machine `default`")
    ls.add_argument("--output", choices=("table", "json"), default="table")
    rm = verbs.add_parser("rm", help="take a store's CA off a machine")
    rm.add_argument("name", metavar="NAME")
    rm.add_argument("ids", nargs="+", metavar="ID", help="as `trust ls` shows it, or its beginning")
    rm.add_argument("-y", dest="yes", action="store_true", help="don't ask")
    for one in (ls, rm):
        add_become_flag(one)


def run(args: argparse.Namespace) -> int:
    from machinectl.actions.fleet import raise_failures  # noqa: PLC0415 - --help must not wait for it
    from machinectl.actions.trust import distrust, list_trusted  # noqa: PLC0415
    from machinectl.store.store import Store  # noqa: PLC0415

    store = Store(args.storage_path)
    if args.verb == "rm":

        def confirm(chosen: list[Trusted]) -> bool:
            return bool(args.yes) or _confirmed(args.name, chosen)

        gone = distrust(
            store, args.name, args.ids, become=ask_become(args), quiet=args.quiet, confirm=confirm
        )
        for one in gone:
            print(f"{args.name}: {one.name} ({one.identity}) is not trusted any more")
        return 0
    names = list(dict.fromkeys(names_or_default(args.storage_path, args.names)))
    outcomes = list_trusted(store, names, become=ask_become(args))
    found = [(outcome.name, one) for outcome in outcomes for one in outcome.result or ()]
    if args.output == "json":
        print(json.dumps([_document(name, one) for name, one in found], indent=4))
    else:
        print(
            align(["NAME\tID\tCA\tEXPIRES\tSTORE\tSERVER", *(_row(name, one) for name, one in found)]), end=""
        )
    sys.stdout.flush()
    raise_failures(outcomes)
    return 0


def _row(name: str, one: Trusted) -> str:
    store = "this one" if one.own else "another"
    return f"{name}\t{one.identity}\t{one.name}\t{one.expires:%Y-%m-%d}\t{store}\t{'signed it' if one.signs else ''}"


def _document(name: str, one: Trusted) -> dict[str, object]:
    return {
        "machine": name,
        "id": one.identity,
        "name": one.name,
        "expires": f"{one.expires:%Y-%m-%dT%H:%M:%SZ}",
        "own": one.own,
        "signs": one.signs,
    }


def _confirmed(name: str, chosen: list[Trusted]) -> bool:
    listed = ", ".join(f"{one.name} ({one.identity})" for one in chosen)
    print(f"About to take {listed} off {name}")
    print("WARNING: Clients of that store will be refused; dockerd restarts, its containers go on.")
    try:
        return input("Are you sure? (y/n): ").lower().startswith("y")
    except EOFError:
        return False
