"""`machinectl provision`: brings machines back to what the store says, and takes new settings."""

from __future__ import annotations

import argparse
from pathlib import Path

from machinectl.cli.become_flag import add_become_flag, add_share_flag, add_take_over_flag, ask_become
from machinectl.cli.context_flags import add_context_flags, wanted_contexts
from machinectl.cli.engine_flags import add_engine_flags, engine_wishes

EXAMPLES = """examples:
  machinectl provision node1 node2
  machinectl provision --dry-run node1
  machinectl provision --engine-registry-mirror https://mirror.example.com node1 node2
  machinectl provision --engine-opt icc=false --engine-env HTTPS_PROXY=http://proxy:3128 node1

New settings are added to those that the machine has. Nothing is restarted unless it must be; running
containers survive a restart of dockerd (live-restore).
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("names", nargs="*", metavar="NAME", help="machines; default: the machine `default`")
    add_engine_flags(parser)
    parser.add_argument("--tls-san", action="append", metavar="NAME", help="further name in the certificate")
    add_take_over_flag(parser)
    add_share_flag(parser)
    add_become_flag(parser)
    parser.add_argument(
        "--replace-host-key", action="store_true", help="the host was reinstalled: pin its new key"
    )
    add_context_flags(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")


def run(args: argparse.Namespace) -> int:
    from machinectl.actions.provision import Change, provision  # noqa: PLC0415 - --help must not wait for it
    from machinectl.actions.registry.cas import parse_assignments, with_cas  # noqa: PLC0415
    from machinectl.actions.wishes import package_files  # noqa: PLC0415
    from machinectl.store.store import Store  # noqa: PLC0415

    wishes = engine_wishes(args)
    cas = parse_assignments(args.registry_ca, Path(args.storage_path))
    packages = package_files(args.engine_package or ())
    if packages:
        wishes["packages"] = packages
    names = list(dict.fromkeys(args.names)) or ["default"]
    provision(
        Store(args.storage_path),
        names,
        Change(wishes, tuple(args.tls_san or ()), lambda machine: with_cas(machine, cas)),
        become=ask_become(args),
        quiet=args.quiet,
        dry_run=args.dry_run,
        replace_host_key=args.replace_host_key,
        take_over=args.take_over,
        share=args.share,
        contexts=wanted_contexts(args, names),
    )
    return 0
