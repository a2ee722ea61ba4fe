"""`machinectl scp SOURCE… DESTINATION`: docker-machine's scp, between any two ends."""

from __future__ import annotations

import argparse

from machinectl.cli.become_flag import add_become_flag, ask_become
from machinectl.cli.counts import count, rate
from machinectl.errors import UsageError

EXAMPLES = """examples:
  machinectl scp site.tar.gz web1:                    # into the home folder
  machinectl scp -r html 'web*:/srv/www'              # to many machines at once
  machinectl scp root@web1:/etc/hosts .
  machinectl scp -a db1:/srv/data db2:/srv/           # directly from machine to machine
  machinectl scp -d -r site/ web1:/srv/www            # only what changed, by rsync
  machinectl scp --resume disk.img db1:/var/tmp/      # goes on where it broke off
  machinectl scp 'web1:/var/log/nginx/*.log' web2:conf .

Paths are [[USER@]MACHINE:]PATH as scp has them: relative ones begin in the user's home folder, `./a:b` is a file
here, patterns (*, ?, [..]) in a machine's path are expanded there. MACHINE may be a pattern at the destination. Files
are read and written as the user who logs in, or as USER: `root@web1:/etc/x` goes through sudo where need be.

A file appears under its name only when it is there as a whole and on the disk; a folder that is new, too. Between
machines all goes directly, encrypted, where they reach each other; else through this computer, which it says.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.usage = "machinectl scp [OPTION…] [[USER@]MACHINE:]PATH… [[USER@]MACHINE:]PATH"
    add = parser.add_argument
    add("paths", nargs="+", metavar="[[USER@]NAME:]PATH", help="sources, then the destination")
    add("-r", "--recursive", action="store_true", help="folders, too; links are followed")
    add("-p", "--preserve", action="store_true", help="keep times and modes")
    add(
        "-a", "--archive", action="store_true",
        help="-r -p, and keep links, hard links, holes, FIFOs; as root owners (by name) and devices",
    )  # fmt: skip
    add(
        "-d", "--delta", action="store_true",
        help="by rsync: of files that are there already only what changed travels; keeps times and modes",
    )  # fmt: skip
    add("-C", "--compress", action="store_true", help="compress what goes over the network")
    add("-q", "--quiet", action="store_true", dest="silent", help="no progress")
    add("--checksum", action="store_true", help="read every file again at its end and compare SHA-256")
    add("--resume", action="store_true", help="go on with what a broken copy has left")
    add("--limit-rate", metavar="RATE", default="", help="bytes per second for each copy: 500K, 10M")
    add("--relay", action="store_true", help="between machines: through this computer, even where they meet")
    add("--parallel", type=count, default=16, metavar="N", help="machines at once (default 16)")
    add_become_flag(parser)


def run(args: argparse.Namespace) -> int:
    if len(args.paths) < 2:
        raise UsageError("a destination is missing", hint="machinectl scp SOURCE… DESTINATION")
    from machinectl.actions.copy import How, copy  # noqa: PLC0415 - --help must not wait for it
    from machinectl.actions.copy_words import parse_spot  # noqa: PLC0415
    from machinectl.actions.fleet import raise_failures  # noqa: PLC0415
    from machinectl.cli.copy_progress import copy_reports, wants_bars  # noqa: PLC0415
    from machinectl.store.store import Store  # noqa: PLC0415

    if args.delta and (args.resume or args.relay):
        raise UsageError("--delta does not go with --resume or --relay", why="rsync does it its own way")
    store = Store(args.storage_path)
    quiet = args.quiet or args.silent
    names = store.names()
    *sources, destination = [parse_spot(one, names) for one in args.paths]
    how = How(
        recursive=args.recursive,
        times=args.preserve,
        archive=args.archive,
        checksum=args.checksum,
        resume=args.resume,
        compress=args.compress,
        limit_rate=rate(args.limit_rate),
        direct=not args.relay,
        total=wants_bars(quiet=quiet),
    )
    become = ask_become(args)
    words = {"become": become, "parallel": args.parallel}
    with copy_reports(quiet=quiet) as reporter:
        if args.delta:
            from machinectl.actions.delta import copy_delta  # noqa: PLC0415 - with -d only

            raise_failures(copy_delta(store, sources, destination, how, reporter=reporter, **words))
        else:
            raise_failures(copy(store, sources, destination, how, reporter=reporter, **words))
    return 0
