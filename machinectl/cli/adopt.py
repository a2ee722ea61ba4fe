"""`machinectl adopt NAME --ip ADDRESS`: a host whose engine runs already becomes a machine; create --adopt."""

from __future__ import annotations

import argparse

from machinectl.cli import create

EXAMPLES = """examples:
  machinectl adopt --ip 192.168.1.20 --dry-run old1      # look first
  machinectl adopt --ip 192.168.1.20 old1
  machinectl adopt --ip 192.168.1.20 --engine-label zone=a old1

As `create --adopt`: the engine that is there is never installed, upgraded or replaced. daemon.json keeps what its
owner wrote; added are TLS on port 2376, live-restore, and what flags ask for. Running containers go on. What was
added is in the plan (--dry-run), and the host's own values come back when it is no longer wanted.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    create.configure(parser)
    parser.epilog = EXAMPLES
    parser.set_defaults(adopt=True)


def run(args: argparse.Namespace) -> int:
    return create.run(args)
