"""`machinectl inventory`: what an inventory says."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from machinectl.cli.inventory_flags import add_inventory_flags, open_inventory
from machinectl.errors import UsageError

if TYPE_CHECKING:
    from machinectl.inventory.read import Inventory

    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]

EXAMPLES = """examples:
  machinectl inventory list -i inventories/lab          # JSON, as `ansible-inventory --list` prints it
  machinectl inventory graph -i inventories/lab
  machinectl inventory show -i inventories/lab web1     # a host's variables, and what is wanted of it
  machinectl inventory validate -i inventories/lab
  machinectl inventory export > hosts.yml               # the machines of the store as an inventory

An inventory is Ansible's: a YAML or INI file, or a folder of them with group_vars/ and host_vars/. What machinectl
does with a machine is in the variable `machinectl`:

  # group_vars/all.yml
  machinectl:
    registry-mirrors: [https://mirror.example.com]
    sysctl: {net.core.somaxconn: 4096}
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, text in (
        ("list", "print hosts, groups and variables as JSON"),
        ("graph", "print groups and hosts, or one GROUP, as a tree"),
        ("show", "print a host's variables and what is wanted of it"),
        ("validate", "check everything, and change nothing"),
    ):
        verb = _verb(verbs, name, text)
        add_inventory_flags(verb)
    _verb(verbs, "export", "print the machines of the store as an inventory")


def _verb(verbs: Verbs, name: str, text: str) -> argparse.ArgumentParser:
    return verbs.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def run(args: argparse.Namespace) -> int:
    if args.verb == "export":
        return _export(args)
    inventory, _ = open_inventory(args)
    if args.verb == "graph":
        print(_graph(inventory, args))
        return 0
    names = inventory.select(args.patterns or ("all",), args.limit)
    if args.verb == "list":
        from machinectl.inventory.listing import listing  # noqa: PLC0415 - only here

        print(json.dumps(listing(inventory, names), indent=4, default=str))
    elif args.verb == "show":
        if not args.patterns:
            raise UsageError("which host?", hint="machinectl inventory show NAME")
        for name in names:
            print(json.dumps(_shown(inventory, name), indent=4, default=str))
    else:
        from machinectl.inventory.settings import wishes  # noqa: PLC0415

        found = wishes(inventory, names)
        files = sum(len(one.files) for one in found)
        counts = (len(found), "host"), (len(inventory.groups) - 2, "group"), (files, "file")
        said = ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in counts)
        print(f"{said}: no errors")
    return 0


def _graph(inventory: Inventory, args: argparse.Namespace) -> str:
    from machinectl.inventory.listing import graph  # noqa: PLC0415 - only here

    if args.limit or len(args.patterns) > 1:
        raise UsageError("graph shows one group as a whole", hint="machinectl inventory graph [GROUP]")
    group = args.patterns[0] if args.patterns else "all"
    if group not in inventory.groups:
        raise UsageError(
            f"there is no group {group!r}", why=f"there are {', '.join(sorted(inventory.groups))}"
        )
    return graph(inventory, group)


def _shown(inventory: Inventory, name: str) -> dict[str, Any]:
    """Variables as they are; wishes without what is in files and without values of the environment."""
    from machinectl.inventory.listing import plain  # noqa: PLC0415
    from machinectl.inventory.settings import wishes  # noqa: PLC0415
    from machinectl_agent.spec import redact_document  # noqa: PLC0415

    host = inventory.hosts[name]
    (wish,) = wishes(inventory, [name])
    engine = {**wish.engine, "options": redact_document(dict(wish.engine.get("options", {})))}
    if "env" in engine:
        engine["env"] = dict.fromkeys(engine["env"], "(hidden)")
    wanted = {
        "ip": wish.ip,
        "ssh": {key: value for key, value in vars(wish.ssh).items() if value},
        **({} if wish.become else {"become": "no"}),
        "engine": {key: value for key, value in engine.items() if value},
        "engine_port": wish.engine_port,
        "host": dict(wish.host),
        "tls_san": list(wish.tls_san),
        "files": [f"{one.path} ({len(one.content)} bytes, {one.mode:04o})" for one in wish.files],
        "network": {"advertise": wish.advertise} if wish.advertise else wish.network,
        "etcd": wish.etcd,
        "context": wish.context,
    }
    hidden = {key: plain(value) for key, value in host.variables.items() if key != "machinectl"}
    shown = redact_document(hidden)
    return {
        "name": name,
        "groups": list(host.groups),
        "variables": shown,
        "wanted": {key: value for key, value in wanted.items() if value},
    }


def _export(args: argparse.Namespace) -> int:
    from machinectl.actions.export_inventory import export_inventory  # noqa: PLC0415 - only here
    from machinectl.store.store import Store  # noqa: PLC0415

    print(export_inventory(Store(args.storage_path)), end="")
    return 0
