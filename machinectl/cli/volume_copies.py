"""The verbs of `machinectl volume` that move contents: backup, restore, migrate, clone, pack."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from machinectl.cli.become_flag import ask_become
from machinectl.cli.volume_flags import pairs
from machinectl.errors import UsageError

if TYPE_CHECKING:
    from machinectl.actions.volume.backup import Consistency
    from machinectl.store.store import Store


def backup(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.report import Report  # noqa: PLC0415
    from machinectl.actions.volume.backup import backup as save  # noqa: PLC0415
    from machinectl.actions.volume.backup import file_name  # noqa: PLC0415
    from machinectl.actions.volume.names import parse_volume  # noqa: PLC0415

    volume = parse_volume(args.volume)
    file = args.file or file_name(volume, args.compress)
    if file != "-" and ":" not in file and Path(file).expanduser().is_dir():
        file = str(Path(file) / file_name(volume, args.compress))
    saved = save(
        store, volume, file, compress=args.compress, consistency=_consistency(args), become=ask_become(args),
        report=Report(volume.machine, quiet=args.quiet),
    )  # fmt: skip
    print(f"{saved.sha256}  {saved.file}", file=sys.stderr if file == "-" else sys.stdout)
    if not args.quiet:
        print(
            f"{saved.entries} entries, {_size(saved.bytes)}; {_size(saved.size)} in the file", file=sys.stderr
        )
    return 0


def restore(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.report import Report  # noqa: PLC0415
    from machinectl.actions.volume.backup import restore as bring_back  # noqa: PLC0415
    from machinectl.actions.volume.names import parse_volume  # noqa: PLC0415

    volume = parse_volume(args.volume)
    done = bring_back(
        store, args.file, volume, options=_options(args), become=ask_become(args),
        report=Report(volume.machine, quiet=args.quiet),
    )  # fmt: skip
    print(volume)
    if not args.quiet:
        head, found = done.destination["head"], done.destination
        size = _size(found["bytes"])
        print(
            f"{found['entries']} entries, {size}, of {head['Machine']}:{head['Name']} at {head['Time']}",
            file=sys.stderr,
        )
    return 0


def move(args: argparse.Namespace, store: Store) -> int:
    """migrate and clone."""
    from machinectl.actions.report import Report  # noqa: PLC0415
    from machinectl.actions.volume.move import clone, migrate  # noqa: PLC0415
    from machinectl.actions.volume.names import parse_volume  # noqa: PLC0415

    source = parse_volume(args.source)
    target = parse_volume(args.target if ":" in args.target else f"{args.target}:{source.name}")
    work = clone if args.verb == "clone" or args.keep else migrate
    moved = work(
        store, source, target, consistency=_consistency(args), options={**_options(args), "verify": args.verify},
        direct=not args.relay, become=ask_become(args), report=Report(source.machine, quiet=args.quiet),
    )  # fmt: skip
    print(target)
    if not args.quiet:
        speed = f", {_size(moved.bytes / moved.seconds)}/s" if moved.seconds else ""
        print(
            f"{moved.entries} entries, {_size(moved.bytes)}, {moved.way}{speed}; sha256 {moved.sha256[:16]}… on both",
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
    return {"replace": args.replace, "stop": args.stop, "plain": args.plain}


def _size(size: float) -> str:
    from machinectl.cli.volume import human  # noqa: PLC0415 - it imports us

    return human(size)
