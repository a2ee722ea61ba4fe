"""`machinectl inspect [NAME]`: a machine as JSON, or what a Go template takes of it."""

from __future__ import annotations

import argparse

from machinectl.actions.describe import describe
from machinectl.cli.gotemplate import go_json, parse_template, render_template
from machinectl.cli.words import one_name
from machinectl.store.store import Store

EXAMPLES = """examples:
  machinectl inspect node1
  machinectl inspect -f '{{.Driver.IPAddress}}' node1
  machinectl inspect -f '{{json .HostOptions.AuthOptions}}' node1
  machinectl inspect -f '{{prettyjson .Machinectl}}' node1

The shape is docker-machine's; what it has no place for is under Machinectl. Paths are where the store is
now. Values of the engine's environment are hidden: proxies' passwords are often among them.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """A name and a template."""
    parser.epilog = EXAMPLES
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: the machine `default`")
    parser.add_argument("-f", "--format", default="", metavar="TEMPLATE", help="Go template")


def run(args: argparse.Namespace) -> int:
    """Reads the store only."""
    store = Store(args.storage_path)
    nodes = parse_template(args.format)
    document = describe(store, store.load(one_name(args.storage_path, args.names)))
    print(render_template(nodes, document) if args.format else go_json(document, indent=4, sort=False))
    return 0
