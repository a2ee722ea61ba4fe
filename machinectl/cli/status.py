"""`machinectl status [NAME]`: one word."""

from __future__ import annotations

import argparse
import sys

from machinectl.actions.list_machines import ERROR, Row, ask_engines
from machinectl.cli.words import one_name, seconds
from machinectl.store.store import Store

EXAMPLES = """examples:
  machinectl status node1
  test "$(machinectl status node1)" = Running

Running: its engine answered over TLS. Stopped: the host is up, nothing listens on the engine's port.
Timeout: no answer in time. Error: something else, stderr says what (exit status 1).
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """A name and a timeout."""
    parser.epilog = EXAMPLES
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: the machine `default`")
    parser.add_argument("-t", "--timeout", default="", metavar="SECONDS", help="default 10")


def run(args: argparse.Namespace) -> int:
    """Prints the state; raises MachineNotFound and StoreError."""
    store = Store(args.storage_path)
    name = one_name(args.storage_path, args.names)
    row = ask_engines(store, [Row(name, store.load(name))], seconds(args.timeout, 10.0))[0]
    print(row.state)
    if row.state != ERROR:
        return 0
    sys.stdout.flush()
    print(f"error: {name}: {row.error}", file=sys.stderr)
    return 1
