"""`machinectl etcd …`: the key-value store that the networks keep their state in."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from machinectl.cli.become_flag import add_become_flag, ask_become
from machinectl.cli.table import align

if TYPE_CHECKING:
    from machinectl.store.store import Store

EXAMPLES = """examples:
  machinectl etcd deploy node1 node2 node3
  machinectl etcd status
  machinectl etcd add node4
  machinectl etcd remove node1
  machinectl etcd backup etcd.db
  machinectl etcd restore --yes etcd.db
  machinectl etcd defrag
  machinectl etcd use --endpoints https://10.0.0.5:2379 --ca ca.pem --cert me.pem --key me-key.pem

One, three or five machines: of three one may fail, of five two. Clients and members speak mutual TLS with
certificates of this store's CA, on ports 2379 and 2380. The distribution's own package is used.
"""

_HEAD = "MEMBER\tENDPOINT\tHEALTH\tVERSION\tLEADER\tSIZE\tREVISION\tTERM\tLATENCY\tERROR"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    verbs = parser.add_subparsers(
        dest="verb", metavar="deploy|status|add|remove|backup|restore|upgrade|defrag|use", required=True
    )
    deploy = verbs.add_parser("deploy", help="found a cluster on machines, or bring it to these options")
    deploy.add_argument("names", nargs="+", metavar="MACHINE")
    deploy.add_argument(
        "--advertise", action="append", default=[], type=_pair, metavar="MACHINE=ADDRESS",
        help="the address that members and clients reach it by (default: the machine's)",
    )  # fmt: skip
    deploy.add_argument("--client-port", type=int, metavar="PORT", help="default 2379")
    deploy.add_argument("--peer-port", type=int, metavar="PORT", help="default 2380")
    deploy.add_argument("--quota", type=_size, metavar="SIZE", help="of the data, as 2G (default)")
    deploy.add_argument("--retention", type=_duration, metavar="TIME", help="old revisions, as 1h (default)")
    deploy.add_argument(
        "--v2", action="store_true", default=None, help="the v2 API too, which classic mode needs"
    )
    deploy.add_argument(
        "--no-packages", dest="packages", action="store_false", default=None,
        help="install nothing: etcd and etcdctl are on the hosts already",
    )  # fmt: skip
    deploy.add_argument("--any-size", action="store_true", help="also 2, 4 or more than 5 machines")
    deploy.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
    shown = verbs.add_parser("status", help="every member's health; exit status 3 where one is down")
    shown.add_argument("--output", choices=("table", "json"), default="table")
    add = verbs.add_parser("add", help="one more member")
    add.add_argument("name", metavar="MACHINE")
    add.add_argument("--advertise", default="", metavar="ADDRESS", help="that others reach it by")
    remove = verbs.add_parser("remove", help="one member less; its data are moved aside on its host")
    remove.add_argument("name", metavar="MACHINE")
    remove.add_argument("--force", action="store_true", help="also where its host does not answer")
    backup = verbs.add_parser("backup", help="a snapshot into a file")
    backup.add_argument("file", type=Path, metavar="FILE")
    restore = verbs.add_parser("restore", help="all members begin anew with a snapshot")
    restore.add_argument("file", type=Path, metavar="FILE")
    restore.add_argument("--yes", action="store_true", help="what is in etcd now is given up")
    upgrade = verbs.add_parser("upgrade", help="to the newest packaged version, one member after the other")
    verbs.add_parser("defrag", help="give unused space back, one member after the other, the leader last")
    use = verbs.add_parser("use", help="an etcd that somebody else looks after")
    use.add_argument("--endpoints", required=True, metavar="URL[,URL…]")
    for name in ("ca", "cert", "key"):
        use.add_argument(f"--{name}", default="", metavar="FILE")
    for one in (deploy, add, remove, restore, upgrade):
        add_become_flag(one)


def run(args: argparse.Namespace) -> int:
    from machinectl.store.store import Store  # noqa: PLC0415 - as in create

    store = Store(args.storage_path)
    verbs = {
        "deploy": _deploy, "status": _status, "add": _add, "remove": _remove, "backup": _backup,
        "restore": _restore, "upgrade": _upgrade, "defrag": _defrag, "use": _use,
    }  # fmt: skip
    return verbs[args.verb](args, store)


def _deploy(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.etcd.deploy import deploy  # noqa: PLC0415

    wanted = ("client_port", "peer_port", "quota", "retention", "v2", "packages")
    wishes = {name: getattr(args, name) for name in wanted if getattr(args, name) is not None}
    plans = deploy(
        store, list(dict.fromkeys(args.names)), wishes=wishes, addresses=dict(args.advertise),
        become=ask_become(args), any_size=args.any_size, quiet=args.quiet, dry_run=args.dry_run,
    )  # fmt: skip
    if plans:
        print("\n".join(plans))
        return 0
    return _print_status(store, "table")


def _status(args: argparse.Namespace, store: Store) -> int:
    return _print_status(store, args.output)


def _add(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.etcd.deploy import add  # noqa: PLC0415

    add(store, args.name, address=args.advertise, become=ask_become(args), quiet=args.quiet)
    return _print_status(store, "table")


def _remove(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.etcd.deploy import remove  # noqa: PLC0415

    remove(store, args.name, force=args.force, become=ask_become(args), quiet=args.quiet)
    return _print_status(store, "table")


def _backup(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.etcd.upkeep import backup  # noqa: PLC0415

    size, digest = backup(store, args.file)
    print(f"{digest}  {args.file}")
    print(
        f"{size} bytes, with the state of all networks: keep it as you keep the store",
        file=sys.stderr,
    )
    return 0


def _restore(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.etcd.upkeep import restore  # noqa: PLC0415
    from machinectl.errors import UsageError  # noqa: PLC0415

    if not args.yes:
        raise UsageError(
            "what is in etcd now is given up", hint="`machinectl etcd backup` first, then add --yes"
        )
    restore(store, args.file, become=ask_become(args), quiet=args.quiet)
    return _print_status(store, "table")


def _upgrade(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.etcd.deploy import upgrade  # noqa: PLC0415

    for name, version in upgrade(store, become=ask_become(args), quiet=args.quiet):
        print(f"{name}: etcd {version}")
    return 0


def _defrag(_args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.etcd.upkeep import defrag  # noqa: PLC0415

    for endpoint, before, after in defrag(store):
        print(f"{endpoint}: {before / 1e6:.1f} MB → {after / 1e6:.1f} MB")
    return 0


def _use(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.etcd.upkeep import use  # noqa: PLC0415

    paths = {
        name: str(Path(value).absolute()) if (value := getattr(args, name)) else ""
        for name in ("ca", "cert", "key")
    }
    use(store, [one.strip() for one in args.endpoints.split(",") if one.strip()], **paths)
    return _print_status(store, "table")


def _print_status(store: Store, output: str) -> int:
    from machinectl.actions.etcd.upkeep import status  # noqa: PLC0415

    rows = status(store)
    if output == "json":
        print(json.dumps(rows, indent=4))
    else:
        print(align([_HEAD, *(_row(row) for row in rows)]), end="")
    return 3 if any(row["health"] != "ok" for row in rows) else 0


def _row(row: dict[str, object]) -> str:
    size = row.get("size")
    return "\t".join(
        (
            str(row["member"]), str(row["endpoint"]), str(row["health"]), str(row.get("version", "-")),
            "yes" if row.get("leader") else "no", f"{size / 1e6:.1f} MB" if isinstance(size, int) else "-",
            str(row.get("revision", "-")), str(row.get("term", "-")),
            f"{row['latency']} ms" if "latency" in row else "-", str(row["error"]),
        )
    )  # fmt: skip


def _pair(text: str) -> tuple[str, str]:
    name, sign, address = text.partition("=")
    if not (name and sign and address):
        raise argparse.ArgumentTypeError("MACHINE=ADDRESS is wanted")
    return name, address


def _size(text: str) -> int:
    found = re.fullmatch(r"(\d+)([MG])i?B?", text)
    if not found:
        raise argparse.ArgumentTypeError("a size as 512M or 2G is wanted")
    return int(found[1]) * (1024**2 if found[2] == "M" else 1024**3)


def _duration(text: str) -> str:
    if not re.fullmatch(r"\d+[mh]", text):
        raise argparse.ArgumentTypeError("a time as 30m or 1h is wanted")
    return text
