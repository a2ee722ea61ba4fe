"""`machinectl sync SRC… PATTERN:PATH`: a folder on many machines, only what changed."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from machinectl.cli.become_flag import add_become_flag, ask_become
from machinectl.cli.counts import count, rate
from machinectl.cli.words import seconds

if TYPE_CHECKING:
    from machinectl.actions.fleet import Outcome
    from machinectl.actions.sync.result import Synced

EXAMPLES = """examples:
  machinectl sync site/ 'web*:/srv/www'              # what is in site goes into /srv/www
  machinectl sync site 'web*:/srv'                   # the folder itself: /srv/site
  machinectl sync --delete --exclude .git site/ 'web*:/srv/www'
  machinectl sync --dry-run --delete site/ all:/srv/www
  machinectl sync web1:/srv/www/ 'web*,!web1:/srv/www'
  machinectl sync db1:/var/backups ./backups
  machinectl sync site/ ops@web1:site                # with ops' rights, below ops' home

A trailing / on a source means what is in the folder, as with rsync. Files go beside the old ones and take their
names when they are whole. Nothing is deleted without --delete, and what --exclude names is neither sent nor deleted.

rsync does it where both sides have it: inside of a large file only what changed travels. Elsewhere the machine's
agent compares names, sizes, times and checksums, and whole files travel. On the machine it is done as root (by sudo),
or with USER@ by that user.

exit status: 0 done, 3 where some of several machines failed, 1 where the only one did.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("words", nargs="+", metavar="SRC… TARGET", help="PATH here, or PATTERN:PATH")
    parser.add_argument("--delete", action="store_true", help="what is not in the source is deleted")
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="list what would be done, change nothing"
    )
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="PATTERN", help="leave these out (rsync's patterns)"
    )
    parser.add_argument(
        "-c", "--checksum", action="store_true", help="compare contents also where size and time are the same"
    )
    parser.add_argument(
        "-a", "--archive", action="store_true", help="keep owners, groups, hard links and devices, too"
    )
    parser.add_argument("-C", "--compress", action="store_true", help="compress what travels")
    parser.add_argument("--limit-rate", default="", metavar="RATE", help="bytes per second: 500K, 10M")
    parser.add_argument("--way", choices=("auto", "rsync", "agent"), default="auto", help="default: auto")
    parser.add_argument("--parallel", type=count, default=16, metavar="N", help="machines at once (16)")
    parser.add_argument("--timeout", default="", metavar="SECONDS", help="for each machine (default 6 hours)")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    add_become_flag(parser)


def run(args: argparse.Namespace) -> int:
    from machinectl.actions.fleet import raise_failures  # noqa: PLC0415 - --help must not wait for it
    from machinectl.actions.sync.places import plan_route  # noqa: PLC0415
    from machinectl.actions.sync.sync import WITHIN, Sync  # noqa: PLC0415
    from machinectl.cli.live import live_reports  # noqa: PLC0415
    from machinectl.remote.rsync import Wish  # noqa: PLC0415
    from machinectl.store.store import Store  # noqa: PLC0415

    store = Store(args.storage_path)
    route = plan_route(args.words, store.names())
    wish = Wish(
        delete=args.delete,
        dry_run=args.dry_run,
        checksum=args.checksum,
        archive=args.archive,
        compress=args.compress,
        limit_rate=rate(args.limit_rate),
        exclude=tuple(args.exclude),
    )
    become = ask_become(args)
    names = list(route.machines or (route.source,))
    with live_reports(names, title="sync", quiet=args.quiet, lines=False) as report:
        sync = Sync(
            store,
            route,
            wish,
            way=args.way,
            become=become,
            within=seconds(args.timeout, WITHIN),
            say=lambda name, text: report(name).line(text),
            over=lambda name: report(name).finished(),
        )
        outcomes = sync.run(args.parallel)
    _show(outcomes, args)
    raise_failures(outcomes)
    return 0


def _show(outcomes: list[Outcome[Synced]], args: argparse.Namespace) -> None:
    if args.output == "json":
        print(json.dumps([_document(one) for one in outcomes], indent=4))
        return
    from machinectl.actions.sync.result import summary  # noqa: PLC0415 - as in run

    for one in outcomes:
        if one.result is None:
            continue
        for change in one.result.changes:
            print(f"{one.name}: {change.verb} {shown(change.path)}")
        print(f"{one.name}: {summary(one.result, dry_run=args.dry_run)}")
        if one.result.warning:
            sys.stdout.flush()
            print(f"{one.name}: {one.result.warning}", file=sys.stderr)
    sys.stdout.flush()


def _document(one: Outcome[Synced]) -> dict[str, Any]:
    if one.result:
        return {"name": one.name, **one.result.document(), "error": None}
    assert one.error
    return {"name": one.name, "error": one.error.document()}


def shown(path: str) -> str:
    """A name on one line, whatever is in it."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in path)
