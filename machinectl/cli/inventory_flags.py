"""The flags by which plan, apply and drift choose an inventory and machines of it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from machinectl.errors import UsageError

if TYPE_CHECKING:
    from machinectl.inventory.read import Inventory

VARIABLE = "MACHINECTL_INVENTORY"
DEFAULTS = ("inventory", "inventory.yml", "inventory.yaml", "inventory.ini")
"""In the folder where one stands, in this order; then the only one in the folder SEVERAL."""
SEVERAL = "inventories"


def add_inventory_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "patterns", nargs="*", metavar="PATTERN", help="machines: names, groups, web*, a:&b:!c"
    )
    parser.add_argument(
        "-i",
        "--inventory",
        action="append",
        default=[],
        metavar="PATH",
        help=f"inventory file or folder; several add up (default: ${VARIABLE}, else ./inventory*, "
        f"else the only one in ./{SEVERAL})",
    )
    parser.add_argument(
        "-l", "--limit", action="append", default=[], metavar="PATTERN", help="of those, only these"
    )


def inventory_paths(given: list[str]) -> list[Path]:
    """Raises `UsageError` where no inventory is named and none lies here."""
    # parted like PATH is; a comma is Ansible's sign for a list of hosts
    named = given or [one for one in os.environ.get(VARIABLE, "").split(os.pathsep) if one]
    if "" in given:
        # a variable of a script's that is empty must not mean the folder where it runs
        raise UsageError("-i without a path", hint="-i PATH names a file or a folder")
    if named:
        return [Path(one).expanduser() for one in named]
    for name in DEFAULTS:
        if Path(name).exists():
            return [Path(name)]
    from machinectl.inventory.sources import inventories_in  # noqa: PLC0415 - see below

    found = inventories_in(Path(SEVERAL))
    if len(found) == 1:
        return found
    if found:
        raise UsageError(
            f"{SEVERAL}/ holds several inventories",
            hint=f"name one: -i {found[0]}, or export {VARIABLE}={found[0]}",
        )
    raise UsageError(
        "no inventory is named",
        hint=f"-i PATH, or export {VARIABLE}=PATH; `machinectl inventory --help` says more",
    )


def open_inventory(args: argparse.Namespace) -> tuple[Inventory, list[Path]]:
    """The inventory and where it came from."""
    from machinectl.inventory.read import read_inventory  # noqa: PLC0415 - --help must not wait for it

    paths = inventory_paths(args.inventory)
    return read_inventory(paths), paths
