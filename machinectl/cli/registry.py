"""`machinectl registry …`: Docker registries on machines, and whether machines reach the ones they use."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from machinectl.cli.become_flag import add_become_flag, ask_become
from machinectl.cli.registry_flags import add_deploy_flags, deploy_wishes, secret_reader
from machinectl.cli.table import align

if TYPE_CHECKING:
    from machinectl.store.store import Store

EXAMPLES = """examples:
  machinectl registry deploy --plain node1 --use-on all    # http://node1:5000, and all machines may use it
  machinectl registry deploy --user ops node1              # TLS by this store's CA, and a password
  machinectl registry deploy --port 5001 --mirror-of https://registry-1.docker.io node1
  machinectl registry ls
  machinectl registry tags node1
  machinectl registry rm node1 app:1.2 && machinectl registry gc node1
  machinectl registry check 'web*'
  machinectl registry undeploy node1

A machine may have several, each on its own port: NAME:PORT names one of them. deploy may be run again: it changes
what differs, keeps the images, and finishes what was killed.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    verbs = parser.add_subparsers(dest="verb", metavar="deploy|ls|tags|rm|gc|check|undeploy", required=True)
    deploy = verbs.add_parser("deploy", help="a registry on a machine, or other options for the one there")
    add_deploy_flags(deploy)
    listing = verbs.add_parser("ls", help="all that were deployed, and whether they answer")
    tags = verbs.add_parser("tags", help="what is in a registry")
    tags.add_argument("place", metavar="MACHINE[:PORT]")
    tags.add_argument("repository", nargs="?", default="", metavar="REPOSITORY", help="only of this one")
    tags.add_argument("--digests", action="store_true", help="which image each tag means")
    remove = verbs.add_parser("rm", help="delete the image that a tag means; `gc` then gives its space back")
    remove.add_argument("place", metavar="MACHINE[:PORT]")
    remove.add_argument("reference", metavar="REPOSITORY:TAG", help="or REPOSITORY@DIGEST")
    remove.add_argument(
        "--all-tags",
        action="store_true",
        help="also where other tags mean the same image, or it is a part of theirs",
    )
    collect = verbs.add_parser(
        "gc", help="delete layers that no image needs; the registry stands still meanwhile"
    )
    collect.add_argument("place", metavar="MACHINE[:PORT]")
    collect.add_argument("--untagged", action="store_true", help="delete images without a tag, too")
    check = verbs.add_parser("check", help="do the mirrors and registries that engines are told of answer?")
    check.add_argument(
        "patterns", nargs="*", default=["all"], metavar="PATTERN", help="machines; default: all"
    )
    undeploy = verbs.add_parser("undeploy", aliases=["remove"], help="take a registry away; its images stay")
    undeploy.add_argument("place", metavar="MACHINE[:PORT]")
    undeploy.add_argument("--purge-storage", action="store_true", help="delete its images")
    for one in (listing, tags, check):
        one.add_argument("--output", choices=("table", "json"), default="table")
    for one in (deploy, collect, check, undeploy):
        add_become_flag(one)


def run(args: argparse.Namespace) -> int:
    from machinectl.store.store import Store  # noqa: PLC0415 - as in create

    verbs: dict[str, Callable[[argparse.Namespace, Store], int]] = {
        "deploy": _deploy, "ls": _ls, "tags": _tags, "rm": _rm, "gc": _gc, "check": _check,
        "undeploy": _undeploy, "remove": _undeploy,
    }  # fmt: skip
    return verbs[args.verb](args, Store(args.storage_path))


def _deploy(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.patterns import choose_names  # noqa: PLC0415
    from machinectl.actions.registry.deploy import deploy  # noqa: PLC0415 - --help must not wait for it
    from machinectl.actions.registry.users import use_on  # noqa: PLC0415

    wishes = deploy_wishes(args)
    users = choose_names(args.use_on, store.names()) if args.use_on else []
    become = ask_become(args)
    done = deploy(
        store, args.name, wishes, become=become, quiet=args.quiet, dry_run=args.dry_run, take_over=args.take_over,
        password=secret_reader(args, "password"), upstream_password=secret_reader(args, "mirror-password"),
    )  # fmt: skip
    if args.dry_run:
        print(done.plan)
        return 0
    if users:
        use_on(store, users, done.machine, done.registry, become=become, quiet=args.quiet)
    print(done.url)
    return 0


def _ls(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.registry.listing import list_registries  # noqa: PLC0415

    rows = list_registries(store)
    if args.output == "json":
        print(json.dumps([_row_json(row) for row in rows], indent=4))
    else:
        lines = ["MACHINE\tURL\tSTATE\tUSER\tMIRROR OF\tERROR"]
        for row in rows:
            one = row.registry
            cells = (
                row.machine,
                row.url,
                row.state,
                (one and one.user) or "-",
                (one and one.upstream) or "-",
                row.error,
            )
            lines.append("\t".join(cells))
        print(align(lines), end="")
    return 3 if any(row.state != "Running" for row in rows) else 0


def _row_json(row: Any) -> dict[str, Any]:
    kept = {}
    if row.registry:
        names = ("port", "plain", "user", "storage", "via", "image", "upstream", "upstream_user")
        kept = {name: getattr(row.registry, name) for name in names}
    return {"machine": row.machine, "url": row.url, "state": row.state, "error": row.error, **kept}


def _tags(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.registry.contents import tags  # noqa: PLC0415

    found = tags(store, args.place, args.repository, digests=args.digests)
    if args.output == "json":
        rows = [
            {"repository": one.repository, "tag": one.tag or None, "digest": one.digest or None}
            for one in found
        ]
        print(json.dumps(rows, indent=4))
        return 0
    lines = ["REPOSITORY\tTAG" + ("\tDIGEST" if args.digests else "")]
    for one in found:
        cells = [one.repository, one.tag or "-", *([one.digest or "-"] if args.digests else [])]
        lines.append("\t".join(cells))
    print(align(lines), end="")
    return 0


def _rm(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.registry.contents import remove_tag  # noqa: PLC0415

    done = remove_tag(store, args.place, args.reference, all_tags=args.all_tags)
    repository = args.reference.partition("@")[0].rpartition(":")[0] or args.reference.partition("@")[0]
    gone = ", ".join(f"{repository}:{one}" for one in done.tags) or "an image without a tag"
    print(f"deleted {done.digest} ({gone})")
    return 0


def _gc(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.registry.contents import collect  # noqa: PLC0415

    before, after = collect(
        store, args.place, untagged=args.untagged, become=ask_become(args), quiet=args.quiet
    )
    print(f"freed {(before - after) / 1e6:.1f} MB; {after / 1e6:.1f} MB are left")
    return 0


def _check(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.fleet import raise_failures  # noqa: PLC0415
    from machinectl.actions.patterns import choose_names  # noqa: PLC0415
    from machinectl.actions.registry.check import check  # noqa: PLC0415

    outcomes = check(store, choose_names(args.patterns, store.names()), become=ask_become(args))
    rows = [{"machine": one.name, **row} for one in outcomes for row in one.result or ()]
    if args.output == "json":
        print(json.dumps(rows, indent=4))
    else:
        lines = ["MACHINE\tSETTING\tREGISTRY\tSTATE"]
        lines += [
            f"{row['machine']}\t{row['setting']}\t{row['address']}\t{row['problem'] or 'ok'}" for row in rows
        ]
        print(align(lines), end="")
    sys.stdout.flush()
    raise_failures(outcomes)
    return 3 if any(row["problem"] for row in rows) else 0


def _undeploy(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.registry.undeploy import undeploy  # noqa: PLC0415

    storage = undeploy(store, args.place, purge=args.purge_storage, become=ask_become(args), quiet=args.quiet)
    if not args.purge_storage and not args.quiet:
        print(f"the images stay in {storage}", file=sys.stderr)
    return 0
