"""`machinectl volume share`, `unshare` and `shares`: one volume on several machines."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from machinectl.cli.network_flags import add_verb
from machinectl.cli.table import align
from machinectl.errors import UsageError

if TYPE_CHECKING:
    from machinectl.actions.shares.ask import Asker
    from machinectl.cli.volume_flags import Verbs
    from machinectl.store.store import Store

VERBS = ("share", "unshare", "shares")

_HEAD = "MACHINE\tSHARE\tWAY\tFROM/TO\tSTATE"


def add_share_verbs(verbs: Verbs) -> None:
    shared = add_verb(verbs, "share", "one machine's volume becomes a volume of others, too, by NFS or sshfs")
    _add_names(shared)
    shared.add_argument(
        "--to", action="append", default=[], metavar="PATTERN", help="the other machines (default: all)"
    )
    shared.add_argument(
        "--via",
        choices=("auto", "nfs", "sshfs"),
        default="auto",
        help="auto: NFS where all kernels have it, and the share is a file system of its own",
    )
    shared.add_argument(
        "--address", default="", metavar="ADDRESS", help="of the exporting machine, as the others reach it"
    )
    gone = add_verb(
        verbs, "unshare", "others lose it; the volume stays where it is; refused while it is used"
    )
    _add_names(gone)
    gone.add_argument("--to", action="append", default=[], metavar="PATTERN", help="only these lose it")
    gone.add_argument(
        "--force", action="store_true", help="end it also for machines that are away or still use it"
    )

    listing = add_verb(verbs, "shares", "what is shared from where to whom")
    listing.add_argument(
        "patterns", nargs="*", metavar="PATTERN", help="machines by name, as `web*` (default: all of them)"
    )
    listing.add_argument("--output", choices=("table", "json"), default="table")


def _add_names(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("volume", metavar="VOLUME", help="a volume's name, MACHINE:VOLUME or MACHINE:/path")
    parser.add_argument(
        "--from", dest="source", default="", metavar="MACHINE", help="the machine that has it"
    )
    parser.add_argument(
        "--name", default="", metavar="NAME", help="of the share and the others' volumes (default: as VOLUME)"
    )


def share(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.fleet import raise_failures  # noqa: PLC0415 - --help must not wait for it
    from machinectl.actions.patterns import choose_names  # noqa: PLC0415
    from machinectl.actions.shares import share as action  # noqa: PLC0415

    source, place, name = names_of(args)
    targets = choose_names(args.to or ["all"], store.names())
    ask = _asker(args, store, name)
    outcomes = action.share(store, ask, place, source, targets, via=args.via, address=args.address)
    for one in outcomes:
        if one.result:
            state = "" if one.result.created else ", as before"
            print(f"{one.name}: volume {name} is {place} of {source}, by {one.result.via}{state}", flush=True)
    raise_failures(outcomes)
    return 0


def unshare(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.fleet import raise_failures  # noqa: PLC0415
    from machinectl.actions.patterns import choose_names  # noqa: PLC0415
    from machinectl.actions.shares import share as action  # noqa: PLC0415

    source, _, name = names_of(args)
    targets = choose_names(args.to, store.names()) if args.to else []
    outcomes, left = action.unshare(_asker(args, store, name), source, targets, force=args.force)
    for one in outcomes:
        if one.error is None:
            print(f"{one.name}: has {name} no more", flush=True)
        elif args.force:
            print(
                f"{one.error}\n  later: machinectl volume unshare {source}:{name} --to {one.name}",
                file=sys.stderr,
            )
    print(
        f"{source}: still shares {name} with {', '.join(left)}"
        if left
        else f"{source}: shares {name} no more"
    )
    if not args.force:
        raise_failures(outcomes)
    return 0


def shares(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.fleet import raise_failures  # noqa: PLC0415
    from machinectl.actions.patterns import choose_names  # noqa: PLC0415
    from machinectl.actions.shares.listing import list_shares  # noqa: PLC0415

    names = choose_names(args.patterns or ["all"], store.names())
    outcomes = list_shares(_asker(args, store, ""), names)
    rows = [row for one in outcomes for row in one.result or ()]
    if args.output == "json":
        print(json.dumps(rows, indent=4, ensure_ascii=False))
    else:
        print(render_table(rows), end="")
    sys.stdout.flush()
    raise_failures(outcomes)
    return 0


def render_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line for each end of each share."""
    lines = [_HEAD]
    for row in rows:
        where = f"from {row['from']}" if row["from"] else f"to {', '.join(row['to'])}"
        lines.append("\t".join((row["machine"], row["share"], row["via"], where, row["state"])))
    return align(lines)


def names_of(args: argparse.Namespace) -> tuple[str, str, str]:
    """The machine, its volume or path, the share's name. Raises `UsageError`."""
    machine, colon, place = args.volume.partition(":")
    if not colon:
        machine, place = "", args.volume
    if machine and args.source and machine != args.source:
        raise UsageError(f"the volume is of {machine}, or of {args.source}?", hint="leave --from out")
    source = machine or args.source
    if not source:
        raise UsageError("whose volume it is is not said", hint="--from MACHINE, or MACHINE:VOLUME")
    name = args.name or place.rstrip("/").rpartition("/")[2]
    if not place or not name:
        raise UsageError(f"{args.volume!r} names no volume", hint="MACHINE:VOLUME, or MACHINE:/path")
    return source, place, name


def _asker(args: argparse.Namespace, store: Store, name: str) -> Asker:
    from machinectl.actions.shares.ask import Asker  # noqa: PLC0415 - as in share
    from machinectl.cli.become_flag import ask_become  # noqa: PLC0415

    return Asker(store, name, ask_become(args), quiet=args.quiet)
