"""`machinectl dns lookup`: what a name means in the networks of all machines."""

from __future__ import annotations

import argparse
import json

from machinectl.cli.become_flag import add_become_flag, ask_become
from machinectl.cli.network_flags import add_verb
from machinectl.cli.table import align

EXAMPLES = """examples:
  machinectl dns lookup web
  machinectl dns lookup web.demo
  machinectl dns lookup --network demo --output json web
  machinectl dns lookup 10.77.1.5              # whose address is this?

A container finds the names of the networks that it is in: container names, aliases, NAME.NETWORK. The answer
here comes from etcd, by way of one member, and knows all networks.
"""

_HEAD = "NAME\tADDRESS\tMACHINE\tNETWORK\tCONTAINER"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    verbs = parser.add_subparsers(dest="verb", metavar="lookup", required=True)
    lookup = add_verb(
        verbs, "lookup", "who has this name or address; exit status 1 where nobody has", asks=True
    )
    lookup.add_argument("name", metavar="NAME")
    lookup.add_argument("--network", default="", metavar="NAME", help="in this network only")
    lookup.add_argument("--output", choices=("table", "json"), default="table")
    add_become_flag(lookup)


def run(args: argparse.Namespace) -> int:
    from machinectl.actions.network.networks import lookup  # noqa: PLC0415 - as in create
    from machinectl.errors import MachinectlError  # noqa: PLC0415
    from machinectl.store.store import Store  # noqa: PLC0415

    found = lookup(
        Store(args.storage_path),
        args.name,
        network=args.network,
        machine=args.machine,
        become=ask_become(args),
        quiet=args.quiet,
    )
    answers = found["answers"]
    if args.output == "json":
        print(json.dumps(answers, indent=4, ensure_ascii=False))
        return 0 if answers else 1
    if not answers:
        raise MachinectlError(
            f"nobody is called {args.name} in {args.network or 'any network'}",
            hint="`machinectl network inspect NAME` lists a network's containers",
            problem="no-such-name",
        )
    print(render_table(answers), end="")
    return 0


def render_table(answers: list[dict[str, object]]) -> str:
    """A line for each container that has the name; both addresses where it has two."""
    rows = []
    for one in answers:
        addresses = ", ".join(str(one[key]) for key in ("ip", "ip6") if one.get(key))
        machine = str(one["machine"]) + ("" if one.get("alive", True) else " (dead)")
        container = str(one.get("container") or "")[:12] or "-"
        rows.append("\t".join((str(one["name"]), addresses, machine, str(one["network"]), container)))
    return align([_HEAD, *rows])
