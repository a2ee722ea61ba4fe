"""`machinectl drift`: what has changed on hosts since the last apply."""

from __future__ import annotations

import argparse
import json

from machinectl.cli.become_flag import add_become_flag, ask_become
from machinectl.cli.inventory_flags import add_inventory_flags, inventory_paths, open_inventory
from machinectl.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from machinectl.actions.apply.drift import Drift

EXAMPLES = """examples:
  machinectl drift -i inventories/lab
  machinectl drift --diff -i inventories/lab 'web*'
  machinectl drift node1                          # no inventory: against what create and provision asked for

What machinectl brings is compared, and daemon.json as a whole. Keys that the host's owner adds are theirs and stay.
Exit status with --exit-code: 0 nothing has changed, 2 something has.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    add_inventory_flags(parser)
    parser.add_argument("--diff", action="store_true", help="show how files have changed")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    parser.add_argument("--parallel", type=int, default=0, metavar="N", help="machines at once (default 16)")
    parser.add_argument("--exit-code", action="store_true", help="exit with 2 where something has changed")
    add_become_flag(parser)


def run(args: argparse.Namespace) -> int:
    from machinectl.actions.apply.drift import drift, stored_targets  # noqa: PLC0415 - --help must not wait for it
    from machinectl.actions.apply.options import ApplyOptions  # noqa: PLC0415
    from machinectl.actions.apply.planning import read_scope  # noqa: PLC0415
    from machinectl.actions.fleet import PARALLEL, raise_failures  # noqa: PLC0415
    from machinectl.cli.live import live_reports  # noqa: PLC0415
    from machinectl.store.store import Store  # noqa: PLC0415

    store = Store(args.storage_path)
    if _has_inventory(args):
        inventory, paths = open_inventory(args)
        targets = list(read_scope(store, inventory, paths, args.patterns, args.limit).targets)
    else:
        targets = stored_targets(store, args.patterns or store.names())
    if not targets:
        raise UsageError("there is no machine", hint="`machinectl ls` lists them")
    become = ask_become(args)
    names = [one.name for one in targets]
    with live_reports(names, title="comparing", quiet=args.quiet, lines=False) as report:
        options = ApplyOptions(become=become, report=report, parallel=args.parallel or PARALLEL)
        outcomes = drift(store, targets, options)
    found = [one.result for one in outcomes if one.result]
    if args.output == "json":
        print(json.dumps([_to_json(one) for one in found], indent=2))
    else:
        _print(found, diff=args.diff)
    raise_failures(outcomes)
    return 2 if args.exit_code and any(one.rows for one in found) else 0


def _has_inventory(args: argparse.Namespace) -> bool:
    try:
        inventory_paths(args.inventory)
    except UsageError:
        return False
    return True


def _print(found: list[Drift], *, diff: bool) -> None:
    changed = 0
    for one in found:
        for step, verdict in one.rows:
            changed += 1
            print(
                f"{one.name}: {str(step['title']).lstrip('+~-! ')} would undo a change since the last apply"
            )
            print(f"  {verdict}")
            if diff:
                print("".join(f"      {line}\n" for line in str(step.get("diff", "")).splitlines()), end="")
    count = len(found)
    print(f"{count} machine{'' if count == 1 else 's'}: {changed or 'nothing'} changed since the last apply")


def _to_json(one: Drift) -> dict[str, object]:
    return {"name": one.name, "changes": [{**step, "verdict": verdict} for step, verdict in one.rows]}
