"""`machinectl mount NAME:PATH MOUNTPOINT`: docker-machine's mount, by sshfs."""

from __future__ import annotations

import argparse
from pathlib import Path

from machinectl.cli.words import default_name
from machinectl.errors import UsageError

EXAMPLES = """examples:
  mkdir ~/web1 && machinectl mount web1:/srv/www ~/web1
  machinectl mount ops@web1: ~/web1            # ops' home folder
  machinectl mount -o ro web1:/var/log /mnt
  machinectl mount -u web1:/srv/www ~/web1     # or only: mount -u ~/web1

Needs sshfs on this computer. It connects as `machinectl ssh` does: same user, keys, jump hosts and pinned host key. A
path without a name means the machine `default`; without a MOUNTPOINT it is mounted on the same path here.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("source", metavar="[[USER@]NAME:]PATH", help="the folder on the machine")
    parser.add_argument("mountpoint", nargs="?", metavar="MOUNTPOINT", help="default: the same path as PATH")
    parser.add_argument("-u", "--unmount", action="store_true", help="take it away again")
    parser.add_argument(
        "-o",
        dest="options",
        action="append",
        default=[],
        metavar="OPTION",
        help="of sshfs: ro, allow_other, …",
    )


def run(args: argparse.Namespace) -> int:
    user, name, path = parse_source(args.source)
    target = args.mountpoint or path
    if not target:
        raise UsageError("a folder to mount it on is missing", hint=f"machinectl mount {args.source} FOLDER")
    mountpoint = Path(target).expanduser().absolute()
    from machinectl.actions.mount import mount, unmount  # noqa: PLC0415 - --help must not wait for it
    from machinectl.store.store import Store  # noqa: PLC0415

    if args.unmount:
        unmount(mountpoint)
        return 0
    name = name or default_name(args.storage_path)
    mount(Store(args.storage_path), name, path, mountpoint, user=user, options=args.options)
    return 0


def parse_source(text: str) -> tuple[str, str, str]:
    """User, machine, path; what is not said is empty. Raises UsageError for a user without a machine."""
    place, colon, path = text.partition(":")
    if not colon:
        return "", "", text
    user, _, name = place.rpartition("@")
    if not name:
        raise UsageError(f"{text}: no machine is named", hint="machinectl mount NAME:PATH MOUNTPOINT")
    return user, name, path
