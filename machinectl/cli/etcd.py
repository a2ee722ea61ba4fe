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
  machinectl etcd deploy --binaries etcd-v3.5.16-linux-amd64.tar.gz node1
  machinectl etcd status
  machinectl etcd add node4
  machinectl etcd remove node1                 # and add it again: that replaces a member
  machinectl etcd backup etcd.db
  machinectl etcd restore --yes etcd.db
  machinectl etcd upgrade
  machinectl etcd defrag
  machinectl etcd use --endpoints https://10.0.0.5:2379 --ca ca.pem --cert me.pem --key me-key.pem

One, three or five machines: of three one may fail, of five two. Clients and members speak mutual TLS with
certificates of this store's CA, on ports 2379 and 2380. Every verb may be run again: one that was killed is
finished by the next run.
"""

_LOOPBACK = re.compile(r"http://(127\.|localhost[:/]|\[::1\])")
_HEAD = "MEMBER\tENDPOINT\tHEALTH\tVERSION\tLEADER\tSIZE\tREVISION\tTERM\tINDEX\tLATENCY\tERROR"


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
    deploy.add_argument("--client-port", type=_port, metavar="PORT", help="default 2379")
    deploy.add_argument("--peer-port", type=_port, metavar="PORT", help="default 2380")
    deploy.add_argument("--quota", type=_size, metavar="SIZE", help="of the data, as 2G (default)")
    deploy.add_argument("--retention", type=_duration, metavar="TIME", help="old revisions, as 1h (default)")
    deploy.add_argument(
        "--v2", action=argparse.BooleanOptionalAction, help="the v2 API too, which classic mode needs"
    )
    deploy.add_argument(
        "--insecure-loopback", action=argparse.BooleanOptionalAction,
        help="plain HTTP without a certificate on 127.0.0.1, for everybody who is on the host",
    )  # fmt: skip
    _add_binaries(deploy)
    deploy.add_argument("--force-size", action="store_true", help="also 4 machines, or more than 5")
    deploy.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
    shown = verbs.add_parser("status", help="every member's health; exit status 3 where one is down")
    shown.add_argument("--output", choices=("table", "json"), default="table")
    add = verbs.add_parser("add", help="one more member")
    add.add_argument("name", metavar="MACHINE")
    add.add_argument("--advertise", default="", metavar="ADDRESS", help="that others reach it by")
    remove = verbs.add_parser("remove", help="one member less; its data are moved aside on its host")
    remove.add_argument("name", metavar="MACHINE")
    remove.add_argument(
        "--force", action="store_true", help="also where its host does not answer; also the last one"
    )
    remove.add_argument("--delete-data", action="store_true", help="delete the data on its host")
    backup = verbs.add_parser("backup", help="a snapshot into a file")
    backup.add_argument("file", type=Path, metavar="FILE")
    restore = verbs.add_parser("restore", help="all members begin anew with a snapshot")
    restore.add_argument("file", type=Path, metavar="FILE")
    restore.add_argument(
        "names", nargs="*", metavar="MACHINE", help="the members from now on (default: those of now)"
    )
    restore.add_argument("--yes", action="store_true", help="what is in etcd now is given up")
    upgrade = verbs.add_parser("upgrade", help="to the newest packaged version, one member after the other")
    _add_binaries(upgrade)
    verbs.add_parser("defrag", help="give unused space back, one member after the other, the leader last")
    use = verbs.add_parser("use", help="an etcd that somebody else looks after")
    target = use.add_mutually_exclusive_group(required=True)
    target.add_argument("--endpoints", metavar="URL[,URL…]")
    target.add_argument("--none", action="store_true", help="forget it again; nothing in it changes")
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

    names = list(dict.fromkeys(args.names))
    wanted = ("client_port", "peer_port", "quota", "retention", "v2", "insecure_loopback")
    wishes = {name: getattr(args, name) for name in wanted if getattr(args, name) is not None}
    wishes |= _binaries(args, store)
    if len(names) % 2 == 0 and not args.quiet:
        print(
            f"warning: an etcd of {len(names)} members stands no more failures than one of {len(names) - 1}",
            file=sys.stderr,
        )
    plans = deploy(
        store, names, wishes=wishes, addresses=dict(args.advertise), become=ask_become(args),
        any_size=args.force_size, quiet=args.quiet, dry_run=args.dry_run,
    )  # fmt: skip
    if plans:
        print("\n".join(plans))
        return 0
    return _print_status(store, "table")


def _status(args: argparse.Namespace, store: Store) -> int:
    return _print_status(store, args.output)


def _add(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.etcd.membership import add  # noqa: PLC0415

    add(store, args.name, address=args.advertise, become=ask_become(args), quiet=args.quiet)
    return _print_status(store, "table")


def _remove(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.etcd.membership import remove  # noqa: PLC0415
    from machinectl.store.etcd import load_etcd  # noqa: PLC0415

    remove(
        store, args.name, force=args.force, delete_data=args.delete_data, become=ask_become(args), quiet=args.quiet
    )  # fmt: skip
    return _print_status(store, "table") if load_etcd(store) else 0


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
    from machinectl.actions.etcd.restore import restore  # noqa: PLC0415
    from machinectl.errors import UsageError  # noqa: PLC0415

    if not args.yes:
        raise UsageError(
            "what is in etcd now is given up", hint="`machinectl etcd backup` first, then add --yes"
        )
    restore(store, args.file, list(dict.fromkeys(args.names)), become=ask_become(args), quiet=args.quiet)
    return _print_status(store, "table")


def _upgrade(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.etcd.upgrade import upgrade  # noqa: PLC0415

    wishes = _binaries(args, store)
    for name, version, changed in upgrade(store, wishes=wishes, become=ask_become(args), quiet=args.quiet):
        print(f"{name}: etcd {version}" + ("" if changed else ", as before"))
    return 0


def _defrag(_args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.etcd.upkeep import defrag  # noqa: PLC0415

    for endpoint, before, after in defrag(store):
        print(f"{endpoint}: {before / 1e6:.1f} MB → {after / 1e6:.1f} MB")
    return 0


def _use(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.etcd.external import use, use_none  # noqa: PLC0415

    if args.none:
        use_none(store)
        return 0
    urls = [one.strip() for one in args.endpoints.split(",") if one.strip()]
    if not args.quiet and any(one.startswith("http://") and not _LOOPBACK.match(one) for one in urls):
        print("warning: plain HTTP: everybody on the way can read and change what is in it", file=sys.stderr)
    use(store, urls, ca=args.ca, cert=args.cert, key=args.key)
    return _print_status(store, "table")


def _print_status(store: Store, output: str) -> int:
    from machinectl.actions.etcd.upkeep import status  # noqa: PLC0415

    rows = status(store)
    if output == "json":
        print(json.dumps(rows, indent=4))
    else:
        print(align([_HEAD, *(_row(row) for row in rows)]), end="")
    return 3 if any(row["health"] not in ("ok", "learner") for row in rows) else 0


def _row(row: dict[str, object]) -> str:
    size = row.get("size")
    return "\t".join(
        (
            str(row["member"]), str(row["endpoint"]), str(row["health"]), str(row.get("version", "-")),
            "yes" if row.get("leader") else "no", f"{size / 1e6:.1f} MB" if isinstance(size, int) else "-",
            str(row.get("revision", "-")), str(row.get("term", "-")), str(row.get("index", "-")),
            f"{row['latency']} ms" if "latency" in row else "-",
            str(row["error"]).rsplit(": ", maxsplit=1)[-1],  # all of it is in the JSON
        )
    )  # fmt: skip


def _add_binaries(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--binaries", type=Path, metavar="DIR|TAR",
        help="etcd and etcdctl from this folder or tar file instead of the distribution's package",
    )  # fmt: skip


def _binaries(args: argparse.Namespace, store: Store) -> dict[str, object]:
    """The record's fields for --binaries; empty where it was not given."""
    if not args.binaries:
        return {}
    from machinectl.actions.etcd.binaries import digests  # noqa: PLC0415
    from machinectl.store.paths import portable_path  # noqa: PLC0415

    found = digests(args.binaries.expanduser())
    return {"binaries": found, "binaries_path": portable_path(str(args.binaries), store.path)}


def _pair(text: str) -> tuple[str, str]:
    name, sign, address = text.partition("=")
    if not (name and sign and address):
        raise argparse.ArgumentTypeError("MACHINE=ADDRESS is wanted")
    return name, address


def _port(text: str) -> int:
    if not (re.fullmatch(r"[0-9]{1,5}", text) and 0 < int(text) < 1 << 16):
        raise argparse.ArgumentTypeError("a port, 1 to 65535, is wanted")
    return int(text)


def _size(text: str) -> int:
    found = re.fullmatch(r"([1-9][0-9]*)([MG])i?B?", text)  # etcd takes 0 for its default
    if not found:
        raise argparse.ArgumentTypeError("a size as 512M or 2G is wanted")
    return int(found[1]) * (1024**2 if found[2] == "M" else 1024**3)


def _duration(text: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]*[mh]", text):  # with 0 etcd keeps every revision for ever
        raise argparse.ArgumentTypeError("a time as 30m or 1h is wanted")
    return text
