"""The flags of `machinectl volume`'s verbs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from machinectl.cli.network_flags import add_verb
from machinectl.errors import UsageError

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]

VERBS = ("ls", "create", "inspect", "rm", "backup", "restore", "migrate", "clone", "pack")

VOLUME = "MACHINE:VOLUME"

BACKUP = """examples:
  machinectl volume backup node1:db
  machinectl volume backup node1:db db.tar.zst
  machinectl volume backup node1:/srv/site node2:/backups/site.tar.zst
  machinectl volume backup --stop --compress gzip node1:db db.tar.gz

Containers that write to the volume are paused meanwhile, and go on in any case: also when this command, the
connection or the machine's agent dies.
"""

RESTORE = """examples:
  machinectl volume restore db.tar.zst node2:db
  machinectl volume restore --replace --stop db.tar.zst node1:db
  machinectl volume restore node2:/backups/site.tar.zst node3:/srv/site

Nothing is changed before all has arrived and its checksum is right.
"""

MIGRATE = """examples:
  machinectl volume migrate node1:db node2
  machinectl volume migrate --keep node1:db node2:db-copy

A volume that a container has, even a stopped one, can't be removed: remove the container first, or use --keep.
"""

PACK = """examples:
  machinectl volume pack node1:site site-data:1.0
  docker create --name site-data site-data:1.0        # then: docker run --volumes-from site-data …
"""


def add_verbs(verbs: Verbs) -> None:
    _add_ls(verbs)
    _add_create(verbs)
    _add_backup(verbs)
    _add_restore(verbs)
    _add_migrate(verbs)
    _add_clone(verbs)
    _add_pack(verbs)
    shown = add_verb(verbs, "inspect", "all about volumes and the containers that have them, as JSON")
    shown.add_argument("volumes", nargs="+", metavar=VOLUME)
    shown.add_argument("--size", action="store_true", help="add up what is in them")
    gone = add_verb(verbs, "rm", "remove volumes; refused while a container has them, even a stopped one")
    gone.add_argument("volumes", nargs="+", metavar=VOLUME)
    gone.add_argument("-f", "--force", action="store_true", help="no error where there is none")
    gone.add_argument(
        "--yes", action="store_true", help="remove folders (MACHINE:/path) with all in them, too"
    )


def _add_ls(verbs: Verbs) -> None:
    listing = add_verb(verbs, "ls", "the volumes of machines, and which containers have them")
    listing.add_argument(
        "patterns", nargs="*", metavar="PATTERN", help="machines by name, as `web*` (default: all of them)"
    )
    listing.add_argument("-q", "--quiet", dest="names_only", action="store_true", help="names only")
    listing.add_argument("--size", action="store_true", help="add up what is in them")
    listing.add_argument("--output", choices=("table", "json"), default="table")


def _add_create(verbs: Verbs) -> None:
    create = add_verb(verbs, "create", "make a volume; one that is there as wished stays as it is")
    create.add_argument("volume", metavar=VOLUME)
    create.add_argument("-d", "--driver", default="local", metavar="DRIVER", help="default: local")
    create.add_argument("-o", "--opt", action="append", default=[], metavar="KEY=VALUE", help="of the driver")
    create.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="as Docker's")


def _add_backup(verbs: Verbs) -> None:
    parser = add_verb(verbs, "backup", "contents into a file, with their checksum", examples=BACKUP)
    parser.add_argument("volume", metavar=VOLUME)
    parser.add_argument(
        "file", nargs="?", default="", metavar="FILE",
        help="here, or MACHINE:/path, or - for stdout (default: a name with machine, volume and time)",
    )  # fmt: skip
    parser.add_argument(
        "--compress", choices=("zstd", "gzip", "none"), default="", help="default: zstd where it is installed"
    )
    _add_consistency(parser)


def _add_restore(verbs: Verbs) -> None:
    parser = add_verb(verbs, "restore", "contents out of a backup's file", examples=RESTORE)
    parser.add_argument("file", metavar="FILE", help="here, or MACHINE:/path, or - for stdin")
    parser.add_argument("volume", metavar=VOLUME)
    _add_target(parser)


def _add_migrate(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "migrate",
        "move a volume to another machine; the source goes once both are the same",
        examples=MIGRATE,
    )
    parser.add_argument("source", metavar=VOLUME)
    parser.add_argument("target", metavar="MACHINE[:VOLUME]", help="default: the same name")
    parser.add_argument("--keep", action="store_true", help="the source stays")
    _add_consistency(parser, stop=False)
    _add_target(parser)
    _add_way(parser)


def _add_clone(verbs: Verbs) -> None:
    parser = add_verb(verbs, "clone", "copy a volume, on its machine or to another one")
    parser.add_argument("source", metavar=VOLUME)
    parser.add_argument("target", metavar="MACHINE[:VOLUME]", help="default: the same name")
    _add_consistency(parser, stop=False)
    _add_target(parser)
    _add_way(parser)


def _add_pack(verbs: Verbs) -> None:
    parser = add_verb(
        verbs, "pack", "an image on the machine that has the contents as a volume", examples=PACK
    )
    parser.add_argument("volume", metavar=VOLUME)
    parser.add_argument("image", metavar="IMAGE[:TAG]")
    parser.add_argument("--path", default="/data", help="where containers see the contents (default /data)")
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="of the image")
    _add_consistency(parser)


def _add_consistency(parser: argparse.ArgumentParser, *, stop: bool = True) -> None:
    """`stop` False: --stop is there already, for both ends."""
    parser.add_argument(
        "--live", action="store_true", help="the containers that write there go on (default: they are paused)"
    )
    if stop:
        parser.add_argument("--stop", action="store_true", help="stop the containers, and start them again")
    parser.add_argument(
        "--stall", type=_seconds, default=60.0, metavar="SECONDS",
        help="give up where no byte moves for so long, and let the containers go on (default 60)",
    )  # fmt: skip


def _add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--replace", action="store_true", help="what is there now is replaced, once the new is whole"
    )
    parser.add_argument(
        "--stop", action="store_true", help="stop containers that run with it, and start them again"
    )
    parser.add_argument(
        "--plain",
        action="store_true",
        help="a new volume is Docker's plain one, without driver, options and labels",
    )
    parser.add_argument(
        "--with-options",
        action="store_true",
        help="a new volume has the mount or the driver of its source (only from sources that you trust)",
    )


def _add_way(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--relay", action="store_true", help="through this computer, not directly")
    parser.add_argument(
        "--verify", choices=("stream", "tree"), default="stream",
        help="stream: what was written is what was read (default); tree: the copy is read again, too",
    )  # fmt: skip


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 1 <= found <= 86400:
        raise argparse.ArgumentTypeError(f"seconds from 1 on are wanted, not {text!r}")
    return found


def pairs(words: Sequence[str], flag: str) -> dict[str, str]:
    """KEY=VALUE words as a map; a label may have no value. Raises `UsageError`."""
    found: dict[str, str] = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not key or (not sign and flag != "--label"):
            raise UsageError(f"{flag} {word!r}: KEY=VALUE is wanted")
        found[key] = value
    return found
