"""`machinectl context`: entries of `docker context` for machines."""

from __future__ import annotations

import argparse
import json
import os
import sys

from machinectl.actions.context import add_context, contexts_of, current, remove_contexts
from machinectl.actions.fleet import on_each, raise_failures
from machinectl.cli.table import align
from machinectl.errors import UsageError
from machinectl.store.store import Store

EXAMPLES = """examples:
  machinectl context add node1 node2
  machinectl context add --context-name production node1
  docker --context production ps
  machinectl context ls
  machinectl context rm node1

They are docker's own, in $DOCKER_CONFIG or ~/.docker, with copies of the certificates. machinectl brings them up to
date when it gives a machine another address or certificate, and removes them with the machine. Contexts that you made
yourself are never touched. `create --context` and `provision --context` make one, too.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Its verbs."""
    parser.epilog = EXAMPLES
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    add = verbs.add_parser(
        "add", help="make machines' contexts, or bring them up to date", allow_abbrev=False
    )
    add.add_argument("names", nargs="+", metavar="NAME")
    add.add_argument("--context-name", metavar="CONTEXT", help="default: as the machine")
    rm = verbs.add_parser("rm", help="remove machines' contexts", allow_abbrev=False)
    rm.add_argument("names", nargs="+", metavar="NAME")
    ls = verbs.add_parser("ls", help="list the contexts of this store's machines", allow_abbrev=False)
    ls.add_argument("-q", "--quiet", dest="names_only", action="store_true", help="names only")
    ls.add_argument("--output", choices=("table", "json"), default="table")


def run(args: argparse.Namespace) -> int:
    """Exit status 0, or an error: every machine is tried."""
    store = Store(args.storage_path)
    if args.verb == "ls":
        return _list(store, args)
    names = list(dict.fromkeys(args.names))
    if args.verb == "rm":
        outcomes = on_each(names, lambda name: _remove(store, name), parallel=1)
    else:
        if args.context_name and len(names) > 1:
            raise UsageError(
                "--context-name is for one machine", hint="without it each context is called as its machine"
            )
        outcomes = on_each(names, lambda name: _add(store, name, args.context_name or name), parallel=1)
    for outcome in outcomes:
        if outcome.result:
            print(outcome.result)
    raise_failures(outcomes)
    return 0


def _add(store: Store, machine: str, name: str) -> str:
    done = add_context(store, store.load(machine), name)
    if os.environ.get("DOCKER_HOST") and sys.stderr.isatty():
        print("note: docker prefers $DOCKER_HOST to `docker context use`", file=sys.stderr)
    return name if done else f"{name} (unchanged)"


def _remove(store: Store, machine: str) -> str:
    removed = remove_contexts(store, machine)
    if not removed:
        store.load(machine)  # the nearer reason, if there is no such machine
        print(f"{machine} has no docker context", file=sys.stderr)
    for line in in_use_notes(removed):
        print(line, file=sys.stderr)
    return "\n".join(removed)


def in_use_notes(removed: dict[str, bool]) -> list[str]:
    """What to say of contexts that docker had in use."""
    return [
        f'note: the docker context "{name}" was in use; docker uses its default again'
        for name, in_use in removed.items()
        if in_use
    ]


def _list(store: Store, args: argparse.Namespace) -> int:
    used = current()
    found = contexts_of(store)
    if args.names_only:
        print("".join(f"{one.name}\n" for one in found), end="")
    elif args.output == "json":
        rows = [
            {"name": one.name, "machine": one.machine, "host": one.host, "current": one.name == used}
            for one in found
        ]
        print(json.dumps(rows, indent=4))
    else:
        lines = [f"{one.name}{' *' if one.name == used else ''}\t{one.machine}\t{one.host}" for one in found]
        print(align(["NAME\tMACHINE\tHOST", *lines]), end="")
    return 0
