"""The verbs of `machinectl volume` that move contents: backup, restore, migrate, clone, pack."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from machinectl.cli.become_flag import ask_become
from machinectl.cli.meter import Meter
from machinectl.cli.volume_flags import pairs
from machinectl.errors import UsageError
from machinectl.sizes import human

if TYPE_CHECKING:
    from machinectl.actions.volume.backup import Consistency
    from machinectl.store.store import Store


def backup(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.report import Report  # noqa: PLC0415
    from machinectl.actions.volume.backup import backup as save  # noqa: PLC0415
    from machinectl.actions.volume.backup import best_there_is, file_name  # noqa: PLC0415
    from machinectl.actions.volume.names import parse_volume  # noqa: PLC0415

    volume = parse_volume(args.volume)
    consistency, become, file = _consistency(args), ask_become(args), args.file
    if not file or (file != "-" and ":" not in file and Path(file).expanduser().is_dir()):
        args.compress = args.compress or best_there_is(store, volume, become)
        file = str(Path(file) / file_name(volume, args.compress))
    with Meter(quiet=args.quiet or file == "-") as meter:
        saved = save(
            store, volume, file, compress=args.compress, consistency=consistency, become=become,
            report=Report(volume.machine, quiet=args.quiet), progress=meter,
        )  # fmt: skip
    print(f"{saved.sha256}  {saved.file}", file=sys.stderr if file == "-" else sys.stdout)
    if not args.quiet:
        print(
            f"{saved.entries} entries, {human(saved.bytes)}; {human(saved.size)} in the file", file=sys.stderr
        )
    return 0


def restore(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.report import Report  # noqa: PLC0415
    from machinectl.actions.volume.backup import restore as bring_back  # noqa: PLC0415
    from machinectl.actions.volume.names import parse_volume  # noqa: PLC0415

    volume = parse_volume(args.volume)
    become = ask_become(args)
    with Meter(quiet=args.quiet) as meter:
        done = bring_back(
            store, args.file, volume, options=_options(args), become=become,
            report=Report(volume.machine, quiet=args.quiet), progress=meter,
        )  # fmt: skip
    print(volume)
    if not args.quiet:
        head, found = done.destination["head"], done.destination
        size = human(found["bytes"])
        # the file's own words, which may be anybody's
        origin = ascii(f"{head['Machine']}:{head['Name']} at {head['Time']}").strip("'\"")
        print(f"{found['entries']} entries, {size}, of {origin}", file=sys.stderr)
    return 0


def move(args: argparse.Namespace, store: Store) -> int:
    """migrate and clone."""
    from machinectl.actions.report import Report  # noqa: PLC0415
    from machinectl.actions.volume.move import clone, migrate  # noqa: PLC0415
    from machinectl.actions.volume.names import parse_volume  # noqa: PLC0415

    source = parse_volume(args.source)
    target = parse_volume(args.target if ":" in args.target else f"{args.target}:{source.name}")
    work = clone if args.verb == "clone" or args.keep else migrate
    options, become = {**_options(args), "verify": args.verify}, ask_become(args)
    with Meter(quiet=args.quiet) as meter:
        moved = work(
            store, source, target, consistency=_consistency(args), options=options, direct=not args.relay,
            become=become, report=Report(source.machine, quiet=args.quiet), progress=meter,
        )  # fmt: skip
    print(target)
    if not args.quiet:
        speed = f", {human(moved.bytes / moved.seconds)}/s" if moved.seconds else ""
        print(
            f"{moved.entries} entries, {human(moved.bytes)}, {moved.way}{speed}; sha256 {moved.sha256[:16]}… on both",
            file=sys.stderr,
        )
    return 0


def pack(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.report import Report  # noqa: PLC0415
    from machinectl.actions.volume.names import parse_volume  # noqa: PLC0415
    from machinectl.actions.volume.pack import pack as make_image  # noqa: PLC0415

    volume = parse_volume(args.volume)
    made = make_image(
        store, volume, args.image, path=args.path, labels=pairs(args.label, "--label"),
        consistency=_consistency(args), become=ask_become(args), report=Report(volume.machine, quiet=args.quiet),
    )  # fmt: skip
    print(made)
    return 0


def _consistency(args: argparse.Namespace) -> Consistency:
    from machinectl.actions.volume.backup import Consistency  # noqa: PLC0415

    # a copy's --stop is for the containers of its destination
    stop = args.stop and args.verb not in ("clone", "migrate")
    if args.live and stop:
        raise UsageError("--live and --stop are two ways", hint="name one of them")
    return Consistency("live" if args.live else "stop" if stop else "pause", args.stall)


def _options(args: argparse.Namespace) -> dict[str, Any]:
    if args.plain and args.with_options:
        raise UsageError("--plain and --with-options are two ways", hint="name one of them")
    return {
        "replace": args.replace, "stop": args.stop, "plain": args.plain, "with_options": args.with_options,
    }  # fmt: skip
