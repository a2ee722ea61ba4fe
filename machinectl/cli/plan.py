"""`machinectl plan`: what apply would do, without doing it."""

from __future__ import annotations

import argparse
import json

from machinectl.cli.become_flag import add_become_flag, add_share_flag, add_take_over_flag, ask_become
from machinectl.cli.inventory_flags import add_inventory_flags, open_inventory

EXAMPLES = """examples:
  machinectl plan -i inventories/lab
  machinectl plan -i inventories/lab --diff 'web*'
  machinectl plan -i inventories/lab --exit-code --output json

Exit status with --exit-code: 0 nothing to do, 2 something to do, 1 or 3 where machines could not be asked.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    add_inventory_flags(parser)
    add_run_flags(parser)
    parser.add_argument("--exit-code", action="store_true", help="exit with 2 where there is something to do")


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """Those that plan, apply and drift share."""
    parser.add_argument("--diff", action="store_true", help="show how files would change")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    parser.add_argument("--parallel", type=int, default=0, metavar="N", help="machines at once (default 16)")
    parser.add_argument("--prune", action="store_true", help="forget machines that the inventory has no more")
    add_share_flag(parser)
    add_take_over_flag(parser)
    add_become_flag(parser)
    parser.add_argument(
        "--replace-host-key", action="store_true", help="hosts were reinstalled: pin their new keys"
    )


def run(args: argparse.Namespace) -> int:
    from machinectl.actions.apply.options import ApplyOptions  # noqa: PLC0415 - --help must not wait for it
    from machinectl.actions.apply.planning import make_plan, read_scope  # noqa: PLC0415
    from machinectl.actions.fleet import PARALLEL  # noqa: PLC0415
    from machinectl.actions.once import Once  # noqa: PLC0415
    from machinectl.cli.live import live_reports  # noqa: PLC0415
    from machinectl.errors import SomeMachinesFailed  # noqa: PLC0415
    from machinectl.store.store import Store  # noqa: PLC0415

    store = Store(args.storage_path)
    inventory, paths = open_inventory(args)
    scope = read_scope(store, inventory, paths, args.patterns, args.limit)
    become = ask_become(args)
    names = [one.name for one in scope.targets]
    with live_reports(names, title="planning", quiet=args.quiet, lines=False) as report:
        options = ApplyOptions(
            become=become,
            report=report,
            parallel=args.parallel or PARALLEL,
            prune=args.prune,
            replace_host_key=args.replace_host_key,
            take_over=args.take_over,
            once=Once(share=True) if args.share else None,
        )
        plan = make_plan(store, scope, options)
    print(json.dumps(plan.to_json(), indent=2) if args.output == "json" else plan.render(diff=args.diff))
    if plan.errors:
        if len(names) == 1:
            raise plan.errors[0]
        raise SomeMachinesFailed(f"{len(plan.errors)} of {len(names)} machines could not be asked")
    return 2 if args.exit_code and not plan.empty else 0
