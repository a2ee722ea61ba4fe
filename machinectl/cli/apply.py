"""`machinectl apply`: machines become what the inventory says."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from machinectl.cli.become_flag import ask_become
from machinectl.cli.inventory_flags import add_inventory_flags, open_inventory
from machinectl.cli.plan import add_run_flags
from machinectl.errors import UsageError

if TYPE_CHECKING:
    from machinectl.actions.apply.options import ApplyOptions
    from machinectl.actions.apply.planning import Scope
    from machinectl.actions.apply.story import Applied
    from machinectl.store.store import Store

EXAMPLES = """examples:
  machinectl apply -i inventories/lab
  machinectl apply -i inventories/lab --yes 'web*'
  machinectl apply -i inventories/lab --yes --serial 25% --max-fail 2
  machinectl apply -i inventories/lab --yes --prune --output json

Without --yes it shows the plan and asks. Machines are brought up in parallel; engines that have to be restarted are
restarted in batches of --serial, and the first that is not well afterwards is the last. What has failed is done
by the same command again.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    add_inventory_flags(parser)
    add_run_flags(parser)
    parser.add_argument("-y", "--yes", action="store_true", help="don't ask")
    parser.add_argument(
        "--serial", default="1", metavar="N|%", help="engines that restart at the same time (default 1)"
    )
    parser.add_argument(
        "--max-fail", type=int, default=None, metavar="N", help="begin no further machine after more failures"
    )


def run(args: argparse.Namespace) -> int:
    from machinectl.actions.apply.options import batch_size  # noqa: PLC0415 - --help must not wait for it
    from machinectl.actions.apply.planning import read_scope  # noqa: PLC0415
    from machinectl.actions.apply.story import apply  # noqa: PLC0415
    from machinectl.store.store import Store  # noqa: PLC0415

    batch_size(args.serial, 1)
    if not args.yes and not sys.stdin.isatty():
        raise UsageError(
            "there is no terminal to ask on",
            hint="look at `machinectl plan` first, then run it with --yes",
        )
    store = Store(args.storage_path)
    inventory, paths = open_inventory(args)
    scope = read_scope(store, inventory, paths, args.patterns, args.limit)
    become = ask_become(args)
    names = [one.name for one in scope.targets]
    from machinectl.cli.live import live_reports  # noqa: PLC0415

    if not args.yes:
        with live_reports(names, title="planning", quiet=args.quiet, lines=False) as report:
            options = _options(args, become, report)
            if not _confirmed(store, scope, options, diff=args.diff):
                return 1
    with live_reports(names, title="applying", quiet=args.quiet) as report:
        applied = apply(store, scope, _options(args, become, report))
    _print(args, applied, scope)
    applied.raise_failures()
    return 0


def _options(args: argparse.Namespace, become: Any, report: Any) -> ApplyOptions:
    from machinectl.actions.apply.options import ApplyOptions  # noqa: PLC0415
    from machinectl.actions.fleet import PARALLEL  # noqa: PLC0415
    from machinectl.actions.once import Once  # noqa: PLC0415

    return ApplyOptions(
        become=become,
        report=report,
        parallel=args.parallel or PARALLEL,
        serial=args.serial,
        max_fail=args.max_fail,
        prune=args.prune,
        replace_host_key=args.replace_host_key,
        take_over=args.take_over,
        once=Once(share=True) if args.share else None,
    )


def _confirmed(store: Store, scope: Scope, options: ApplyOptions, *, diff: bool) -> bool:
    from machinectl.actions.apply.planning import make_plan  # noqa: PLC0415

    plan = make_plan(store, scope, options)
    print(plan.render(diff=diff))
    if plan.empty:
        return True  # what the store remembers may still be brought up to date: nobody need be asked
    sys.stdout.flush()
    print("go ahead? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    print("nothing has been changed", file=sys.stderr)
    return False


def _print(args: argparse.Namespace, applied: Applied, scope: Scope) -> None:
    if args.output == "json":
        print(json.dumps(applied.to_json(), indent=2))
        return
    if args.diff and args.yes:
        print(applied.diffs(), end="")
    if scope.left and not args.prune:
        listed = ", ".join(scope.left)
        print(f"no longer in the inventory, and left alone: {listed} (--prune forgets them)")
    print(applied.footer())
