"""`machinectl volume …`: named volumes and folders of machines, and what is in them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from machinectl.cli.become_flag import add_become_flag, ask_become
from machinectl.cli.table import align
from machinectl.cli.volume_flags import VERBS, add_verbs, pairs
from machinectl.cli.volume_share import VERBS as SHARE_VERBS
from machinectl.cli.volume_share import add_share_verbs, share, shares, unshare
from machinectl.sizes import human

if TYPE_CHECKING:
    from machinectl.store.store import Store

EXAMPLES = """examples:
  machinectl volume ls
  machinectl volume create node1:db --label team=blue
  machinectl volume inspect node1:db
  machinectl volume backup node1:db db.tar.zst
  machinectl volume restore db.tar.zst node2:db
  machinectl volume migrate node1:db node2
  machinectl volume clone node1:db node1:db-test
  machinectl volume pack node1:site site-data:1.0
  machinectl volume rm node1:db
  machinectl volume share node1:uploads --to 'web*'
  machinectl volume shares
  machinectl volume unshare node1:uploads

A volume is MACHINE:NAME, a folder that containers mount is MACHINE:/path.
"""

_HEAD = "MACHINE\tVOLUME\tDRIVER\tSIZE\tUSED BY"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    verbs = parser.add_subparsers(dest="verb", metavar="|".join((*VERBS, *SHARE_VERBS)), required=True)
    add_verbs(verbs)
    add_share_verbs(verbs)
    for one in verbs.choices.values():
        add_become_flag(one)


def run(args: argparse.Namespace) -> int:
    from machinectl.cli import volume_copies as copies  # noqa: PLC0415
    from machinectl.store.store import Store  # noqa: PLC0415 - --help must not wait for it

    verbs: dict[str, Callable[[argparse.Namespace, Store], int]] = {
        "ls": _ls,
        "create": _create,
        "inspect": _inspect,
        "rm": _rm,
        "backup": copies.backup,
        "restore": copies.restore,
        "migrate": copies.move,
        "clone": copies.move,
        "pack": copies.pack,
        "share": share,
        "unshare": unshare,
        "shares": shares,
    }
    return verbs[args.verb](args, Store(args.storage_path))


def _ls(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.fleet import raise_failures  # noqa: PLC0415
    from machinectl.actions.patterns import choose_names  # noqa: PLC0415
    from machinectl.actions.volume.upkeep import list_volumes  # noqa: PLC0415

    names = choose_names(args.patterns or ["all"], store.names())
    outcomes = list_volumes(store, names, size=args.size, become=ask_become(args))
    found = [one for outcome in outcomes for one in outcome.result or ()]
    if args.names_only:
        print("".join(f"{one['machine']}:{one['name']}\n" for one in found), end="")
    elif args.output == "json":
        print(json.dumps(found, indent=4, ensure_ascii=False))
    else:
        print(render_table(found), end="")
    sys.stdout.flush()
    raise_failures(outcomes)
    return 0


def render_table(volumes: list[dict[str, Any]]) -> str:
    """A line for each volume; `-` where nothing is known or nobody uses it."""
    rows = [
        "\t".join(
            (
                str(one["machine"]),
                str(one["name"]),
                str(one["driver"]),
                "-" if one["size"] is None else human(one["size"]),
                ", ".join(user["name"] for user in one["containers"]) or "-",
            )
        )
        for one in volumes
    ]
    return align([_HEAD, *rows])


def _create(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.volume.names import parse_volume  # noqa: PLC0415
    from machinectl.actions.volume.upkeep import create_volume  # noqa: PLC0415

    volume = parse_volume(args.volume)
    create_volume(
        store, volume, driver=args.driver, options=pairs(args.opt, "--opt"), labels=pairs(args.label, "--label"),
        become=ask_become(args),
    )  # fmt: skip
    print(volume)
    return 0


def _inspect(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.volume.names import parse_volume  # noqa: PLC0415
    from machinectl.actions.volume.upkeep import inspect_volume  # noqa: PLC0415

    become = ask_become(args)
    found = [inspect_volume(store, parse_volume(one), size=args.size, become=become) for one in args.volumes]
    print(json.dumps(found, indent=4, ensure_ascii=False))
    return 0


def _rm(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.volume.names import parse_volume  # noqa: PLC0415
    from machinectl.actions.volume.upkeep import remove_volume  # noqa: PLC0415
    from machinectl.errors import MachinectlError, SomeMachinesFailed, UsageError  # noqa: PLC0415

    volumes = [parse_volume(one) for one in dict.fromkeys(args.volumes)]
    folders = [str(one) for one in volumes if one.is_path]
    if folders and not args.yes:
        raise UsageError(
            f"{folders[0]} is a folder of the machine's, removed with all in it", hint="add --yes"
        )
    become, errors = ask_become(args), []
    for one in volumes:
        try:
            if remove_volume(store, one, force=args.force, become=become):
                print(one, flush=True)
        except MachinectlError as error:
            if len(volumes) == 1:
                raise
            errors.append(str(error))
    if errors:
        raise SomeMachinesFailed(f"{len(errors)} of {len(volumes)} volumes are left\n" + "\n".join(errors))
    return 0
