"""`machinectl image …`: images of machines, sent, fetched, kept in files."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from machinectl.cli.become_flag import add_become_flag, ask_become
from machinectl.cli.counts import count, rate
from machinectl.cli.table import align
from machinectl.errors import UsageError
from machinectl.sizes import human

if TYPE_CHECKING:
    from machinectl.actions.fleet import Outcome
    from machinectl.actions.image.push import Pushed
    from machinectl.actions.image.sending import Ways
    from machinectl.actions.image.sources import Source
    from machinectl.store.store import Store

EXAMPLES = """examples:
  machinectl image ls
  machinectl image push app:1.2 'web*'                       # from this computer's own docker
  machinectl image push --from web1 app:1.2,redis:7 'web*:!web1'
  machinectl image push --file images.tar app:1.2 all
  machinectl image load images.tar.zst all                   # everything that is in it
  machinectl image save web1:app:1.2 web1:redis:7 images.tar     # .tar.gz, .tar.zst: compressed
  machinectl image pull nginx:1.27 'web*'
  machinectl image rm app:1.1 all

Several images are written with commas. Only layers that a machine lacks travel, from machine to machine directly
where they reach each other. A machine is a name, a glob (web*), ~REGEX, all; see `machinectl exec --help`.

exit status: 0, 1 where the only machine failed, 3 where some of several did.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    verbs = parser.add_subparsers(dest="verb", metavar="ls|push|pull|save|load|rm", required=True)
    listing = _verb(verbs, "ls", "the images of machines")
    listing.add_argument("patterns", nargs="*", metavar="MACHINE", help="default: all")
    listing.add_argument("--name", default="", metavar="IMAGE", help="only this image, on whichever machines")
    listing.add_argument("--output", choices=("table", "json"), default="table")
    push = _verb(verbs, "push", "send images to machines, only the layers that they lack")
    push.add_argument("images", metavar="IMAGE[,IMAGE…]")
    push.add_argument("patterns", nargs="+", metavar="MACHINE")
    source = push.add_mutually_exclusive_group()
    source.add_argument("--from", dest="source", default="", metavar="MACHINE", help="take them from there")
    source.add_argument("--file", type=Path, metavar="FILE", help="take them from a tar file")
    _add_ways(push)
    load = _verb(verbs, "load", "send all images of a tar file to machines")
    load.add_argument(
        "file", type=Path, metavar="FILE", help="of `docker save`, or an OCI layout; .gz, .zst too"
    )
    load.add_argument("patterns", nargs="+", metavar="MACHINE")
    _add_ways(load)
    save = _verb(verbs, "save", "images of one machine as a tar file here")
    save.add_argument(
        "words", nargs="+", metavar="MACHINE:IMAGE… FILE", help=":IMAGE is this computer's own docker's"
    )
    save.add_argument("-C", "--compress", action="store_true", help="compress what travels")
    save.add_argument("--limit-rate", default="", metavar="BYTES", help="per second; 10M, 500k")
    pull = _verb(verbs, "pull", "let machines fetch images from their mirrors and registries")
    pull.add_argument("images", metavar="IMAGE[,IMAGE…]")
    pull.add_argument("patterns", nargs="+", metavar="MACHINE")
    gone = _verb(verbs, "rm", "remove images from machines")
    gone.add_argument("images", metavar="IMAGE[,IMAGE…]")
    gone.add_argument("patterns", nargs="+", metavar="MACHINE")
    gone.add_argument("-f", "--force", action="store_true", help="also the name of an image that is in use")


def _verb(verbs: Any, name: str, summary: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", allow_abbrev=False
    )
    add_become_flag(parser)
    return parser


def _add_ways(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--relay", action="store_true", help="through this computer, never directly")
    parser.add_argument("-C", "--compress", action="store_true", help="compress what travels")
    parser.add_argument("--limit-rate", default="", metavar="BYTES", help="per second and machine; 10M, 500k")
    parser.add_argument(
        "--parallel", type=count, default=16, metavar="N", help="machines at once (default 16)"
    )
    parser.add_argument("--output", choices=("text", "json"), default="text")


def run(args: argparse.Namespace) -> int:
    from machinectl.store.store import Store  # noqa: PLC0415 - as in create

    verbs: dict[str, Callable[[argparse.Namespace, Store], int]] = {
        "ls": _ls,
        "push": _push,
        "load": _push,
        "save": _save,
        "pull": _pull,
        "rm": _rm,
    }
    return verbs[args.verb](args, Store(args.storage_path))


def _ls(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.fleet import raise_failures  # noqa: PLC0415
    from machinectl.actions.image.upkeep import list_images  # noqa: PLC0415
    from machinectl.actions.patterns import choose_names  # noqa: PLC0415
    from machinectl_agent.images.names import full  # noqa: PLC0415

    names = choose_names(args.patterns or ["all"], store.names())
    outcomes = list_images(store, names, become=ask_become(args))
    wanted = full(args.name) if args.name else ""
    rows = [
        {"machine": one.name, **image}
        for one in outcomes
        for image in one.result or ()
        if not wanted or wanted in image["names"]
    ]
    if args.output == "json":
        print(json.dumps(rows, indent=4, ensure_ascii=False))
    else:
        print(render_table(rows), end="")
    sys.stdout.flush()
    raise_failures(outcomes)
    return 0


def render_table(rows: list[dict[str, Any]]) -> str:
    """A line for each name of each image."""
    lines = ["MACHINE\tIMAGE\tID\tCREATED\tSIZE"]
    for row in rows:
        created = datetime.datetime.fromtimestamp(row["created"], datetime.timezone.utc)
        for name in row["names"] or ["<none>"]:
            cells = (row["machine"], name, row["id"][7:19], f"{created:%Y-%m-%d}", human(row["size"]))
            lines.append("\t".join(cells))
    return align(lines)


def _push(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.fleet import raise_failures  # noqa: PLC0415
    from machinectl.actions.image.push import push  # noqa: PLC0415
    from machinectl.actions.patterns import choose_names  # noqa: PLC0415
    from machinectl.cli.live import live_reports  # noqa: PLC0415

    names = choose_names(args.patterns, store.names())
    ways = _ways(args, direct=not args.relay)
    source = _source(args, store, ways)
    if args.verb == "push" and args.source:
        names = [one for one in names if one != args.source]
        if not names:
            raise UsageError(f"{args.source} is the only machine named, and has the images already")
    with live_reports(names, title="sent", quiet=args.quiet or args.output == "json") as reports:
        outcomes = push(store, source, names, ways, reports)
    if args.output == "json":
        print(json.dumps([_document(one) for one in outcomes], indent=4, ensure_ascii=False))
    else:
        print("".join(f"{one.name}: {summary(one.result)}\n" for one in outcomes if one.result), end="")
    sys.stdout.flush()
    raise_failures(outcomes)
    return 0


def _source(args: argparse.Namespace, store: Store, ways: Ways) -> Source:
    from machinectl.actions.image.sources import FromFile, FromMachine  # noqa: PLC0415

    if args.verb == "load":
        return FromFile(args.file)
    images = _images(args.images)
    if args.file:
        return FromFile(args.file, images)
    if args.source:
        store.load(args.source)
        return FromMachine(store, args.source, images, ways.become)
    from machinectl.actions.image.local_docker import FromHere  # noqa: PLC0415

    return FromHere(images)


def summary(pushed: Pushed) -> str:
    """One line for one machine, on stdout."""

    if not pushed.sent:
        return "everything is there" + (f"; named {', '.join(pushed.named)}" if pushed.named else "")
    return f"{', '.join(pushed.sent)} ({human(pushed.bytes)})"


def _document(one: Outcome[Pushed]) -> dict[str, Any]:
    error = one.error
    return {
        "name": one.name,
        **(one.result.to_json() if one.result else {}),
        "error": error.document() if error else None,
    }


def _save(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.image.save import save  # noqa: PLC0415
    from machinectl.cli.live import live_reports  # noqa: PLC0415

    machine, images, path = _save_words(args.words)
    if machine:
        store.load(machine)
    with live_reports([machine or "here"], title="saved", quiet=args.quiet) as reports:
        report = reports(machine or "here")
        try:
            saved = save(store, machine, images, path, _ways(args), report)
        finally:
            report.finished()
    print(f"{path}: {', '.join(one.label for one in saved)} ({human(path.stat().st_size)})")
    return 0


def _save_words(words: list[str]) -> tuple[str, list[str], Path]:
    """Machine, images, file. Raises `UsageError`."""
    *named, path = words
    if not named:
        raise UsageError("an image and a file are wanted", hint="machinectl image save MACHINE:IMAGE FILE")
    parts = [one.partition(":") for one in named]
    for one, (_, sign, image) in zip(named, parts, strict=True):
        if not sign or not image:
            raise UsageError(
                f"{one!r} names no machine", hint=f"MACHINE:{one}; `:{one}` is this computer's own docker's"
            )
    machines = {machine for machine, _, _ in parts}
    if len(machines) > 1:
        raise UsageError(
            "one file holds one machine's images", why=f"these are of {', '.join(sorted(machines))}"
        )
    return machines.pop(), [image for _, _, image in parts], Path(path)


def _pull(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.fleet import raise_failures  # noqa: PLC0415
    from machinectl.actions.image.upkeep import pull  # noqa: PLC0415
    from machinectl.actions.patterns import choose_names  # noqa: PLC0415
    from machinectl.cli.live import live_reports  # noqa: PLC0415

    names = choose_names(args.patterns, store.names())
    become = ask_become(args)
    with live_reports(names, title="pulled", quiet=args.quiet) as reports:
        outcomes = pull(store, _images(args.images), names, become=become, reports=reports)
    for one in outcomes:
        for image in one.result or ():
            print(
                f"{one.name}: {image['name']} {image['id'][7:19]}{'' if image['changed'] else ' (as before)'}"
            )
    sys.stdout.flush()
    raise_failures(outcomes)
    return 0


def _rm(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.fleet import raise_failures  # noqa: PLC0415
    from machinectl.actions.image.upkeep import remove  # noqa: PLC0415
    from machinectl.actions.patterns import choose_names  # noqa: PLC0415

    names = choose_names(args.patterns, store.names())
    outcomes = remove(store, _images(args.images), names, force=args.force, become=ask_become(args))
    for one in outcomes:
        for image, layers in (one.result or {"removed": {}})["removed"].items():
            print(f"{one.name}: {image} is removed" + ("" if layers else " (the image has other names)"))
    sys.stdout.flush()
    raise_failures(outcomes)
    return 0


def _images(text: str) -> list[str]:
    found = [one.strip() for one in text.split(",")]
    if not all(found):
        raise UsageError("an image's name is empty", hint="IMAGE,IMAGE without spaces")
    return list(dict.fromkeys(found))


def _ways(args: argparse.Namespace, *, direct: bool = True) -> Ways:
    from machinectl.actions.image.sending import Ways  # noqa: PLC0415

    return Ways(
        ask_become(args),
        direct=direct,
        compress=args.compress,
        limit_rate=rate(args.limit_rate),
        parallel=getattr(args, "parallel", 1),
    )
