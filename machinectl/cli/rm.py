"""`machinectl rm NAME…`: forget machines."""

from __future__ import annotations

import argparse
import sys

from machinectl.actions.registry.told import told_of
from machinectl.actions.remove import forget_member, remove
from machinectl.cli.context import in_use_notes
from machinectl.errors import LockedError, MachinectlError, SomeMachinesFailed, UsageError
from machinectl.model import Machine
from machinectl.store.store import Store

EXAMPLES = """examples:
  machinectl rm node1
  machinectl rm -y node1 node2
  machinectl rm -f node1        # even if its record is damaged

The host keeps running, with Docker and its containers; `machinectl create` takes it back at any time.
A dead member of the networks is forgotten there, too: its addresses are free again. One that is alive should
leave before: `machinectl network leave NAME`.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """docker-machine's flags."""
    parser.epilog = EXAMPLES
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument(
        "-f", "--force", action="store_true", help="remove damaged records, too; implies -y; exit status 0"
    )
    parser.add_argument("-y", dest="yes", action="store_true", help="don't ask")


def _before(store: Store, machine: Machine) -> None:
    for place, names in told_of(store, machine).items():
        others = [one for one in names if one != machine.name]
        told = f", and {', '.join(others)} use it" if others else ""
        _note(f"its registry {place} goes on there{told}; `machinectl registry undeploy` ends one")
    forget_member(store, machine, _note)


def run(args: argparse.Namespace) -> int:
    """Every machine is tried; one that can't be removed hides no other."""
    if not args.names:
        raise UsageError("Error: Expected to get one or more machine names as arguments")
    print(f"About to remove {', '.join(args.names)}")
    print("WARNING: This action will delete the local reference only: the host keeps running, with Docker.")
    if not (args.yes or args.force or _confirmed()):
        return 0
    store = Store(args.storage_path)
    errors: list[MachinectlError] = []
    for name in dict.fromkeys(args.names):
        try:
            contexts = remove(store, name, force=args.force, first=lambda machine: _before(store, machine))
            for line in in_use_notes(contexts):
                _note(line)
            print(f"Successfully removed {name}")
        except MachinectlError as error:
            errors.append(error)
            if args.force or len(args.names) > 1:
                print(f'Error removing host "{name}": {error}', file=sys.stderr)
    if not errors or (args.force and not any(isinstance(one, LockedError) for one in errors)):
        return 0
    if len(args.names) == 1:
        raise errors[0]
    raise SomeMachinesFailed(f"{len(errors)} of {len(args.names)} machines could not be removed")


def _note(text: str) -> None:
    print(text, file=sys.stderr)


def _confirmed() -> bool:
    try:
        return input("Are you sure? (y/n): ").lower().startswith("y")
    except EOFError:
        return False
