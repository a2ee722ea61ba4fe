"""`machinectl network …`: membership of machines, and networks that all members have."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from machinectl.cli.become_flag import add_become_flag, ask_become
from machinectl.cli.network_flags import add_create, add_join, add_verb
from machinectl.cli.table import align

if TYPE_CHECKING:
    from machinectl.store.store import Store

EXAMPLES = """examples:
  machinectl network join node1 node2 node3
  machinectl network create demo
  docker run -d --name web --network demo nginx              # on node1
  docker run --rm --network demo busybox ping -c 1 web       # on node2
  machinectl network create --subnet 10.77.5.0/24 --gateway 10.77.5.1 --mtu 1400 backend
  machinectl network create --internal --on 'db*' private
  machinectl network ls
  machinectl network inspect demo
  machinectl network rm demo
  machinectl network doctor
  machinectl network leave node3

Every engine will do, and no Swarm is needed. A network that is made with Docker's own client on a member
(`docker network create -d machinectl --ipam-driver machinectl NAME`) is the same thing. Members need an etcd:
`machinectl etcd deploy` makes one. --driver overlay is classic mode: Docker's own overlay, Engine before 23.
"""

_HEAD = "NAME\tDRIVER\tSUBNETS\tINTERNAL\tENDPOINTS\tMACHINES"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    verbs = parser.add_subparsers(
        dest="verb", metavar="join|leave|create|ls|inspect|rm|forget|doctor|migrate", required=True
    )
    add_join(verbs)
    leave = add_verb(
        verbs, "leave", "machines are no longer members; refused while containers use the networks"
    )
    leave.add_argument("names", nargs="+", metavar="MACHINE")
    leave.add_argument(
        "--force", action="store_true", help="disconnect the containers; leave also where etcd is away"
    )
    leave.add_argument("-d", "--driver", choices=("overlay",), help="overlay: leave classic mode only")
    leave.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
    add_create(verbs)
    listing = add_verb(
        verbs, "ls", "the networks, with how many containers each has on all machines", asks=True
    )
    listing.add_argument("-q", "--quiet", dest="names_only", action="store_true", help="names only")
    listing.add_argument("--output", choices=("table", "json"), default="table")
    shown = add_verb(
        verbs, "inspect", "all about networks, as JSON, with the containers of all machines", asks=True
    )
    shown.add_argument("names", nargs="+", metavar="NAME")
    gone = add_verb(
        verbs, "rm", "remove networks everywhere; refused while any machine has containers in them", asks=True
    )
    gone.add_argument("names", nargs="+", metavar="NAME")
    forget = add_verb(verbs, "forget", "free all that machines have which do not come back", asks=True)
    forget.add_argument("names", nargs="+", metavar="MACHINE")
    forget.add_argument("--force", action="store_true", help="also where the machine seems to be alive")
    doctor = add_verb(
        verbs, "doctor", "look for what is wrong, on all members; exit status 1 where something is"
    )
    doctor.add_argument("name", nargs="?", default="", metavar="NAME", help="this network only")
    doctor.add_argument("--fix", action="store_true", help="put right what can be")
    doctor.add_argument("--machine", action="append", default=[], metavar="MACHINE", help="only there")
    doctor.add_argument("--output", choices=("text", "json"), default="text")
    migrate = add_verb(verbs, "migrate", "turn a network of classic mode into one of machinectl's")
    migrate.add_argument("name", metavar="NAME")
    migrate.add_argument(
        "machines", nargs="*", metavar="MACHINE", help="default: all that are in classic mode"
    )
    migrate.add_argument(
        "--restart", action="store_true", help="restart the containers at the end: they find names at once"
    )
    migrate.add_argument("--dry-run", action="store_true", help="print what would be done")
    for one in verbs.choices.values():
        add_become_flag(one)


def run(args: argparse.Namespace) -> int:
    from machinectl.store.store import Store  # noqa: PLC0415 - as in create

    verbs: dict[str, Callable[[argparse.Namespace, Store], int]] = {
        "join": _join,
        "leave": _leave,
        "create": _create,
        "ls": _ls,
        "inspect": _inspect,
        "rm": _rm,
        "forget": _forget,
        "doctor": _doctor,
        "migrate": _migrate,
    }
    return verbs[args.verb](args, Store(args.storage_path))


def _join(args: argparse.Namespace, store: Store) -> int:
    names = list(dict.fromkeys(args.names))
    become = ask_become(args)
    from machinectl.errors import UsageError  # noqa: PLC0415 - as in create

    if args.driver == "overlay":
        from machinectl.actions.etcd.access import endpoints  # noqa: PLC0415
        from machinectl.actions.network.classic import join_classic  # noqa: PLC0415

        if args.pool or args.pool_size:
            raise UsageError(
                "--pool and --pool-size are not for --driver overlay",
                hint="Docker's own are the engine's option default-address-pools",
            )
        join_classic(
            store,
            names,
            endpoints(store),
            advertise=args.advertise,
            become=become,
            quiet=args.quiet,
            dry_run=args.dry_run,
        )
        return 0
    from machinectl.actions.network.join import join  # noqa: PLC0415

    join(
        store,
        names,
        advertise=args.advertise,
        pools=args.pool,
        pool_size=args.pool_size,
        become=become,
        quiet=args.quiet,
        dry_run=args.dry_run,
    )
    return 0


def _leave(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.network.classic import classic_machines, leave_classic  # noqa: PLC0415
    from machinectl.actions.network.join import leave  # noqa: PLC0415
    from machinectl.actions.network.membership import is_member  # noqa: PLC0415

    names = list(dict.fromkeys(args.names))
    become = ask_become(args)
    there = classic_machines(store)
    classic = [name for name in names if name in there]
    if classic:
        leave_classic(store, classic, become=become, quiet=args.quiet, dry_run=args.dry_run)
    ours = [name for name in names if name not in classic or is_member(store.load(name))]
    if args.driver == "overlay":
        ours = []
    if ours:
        leave(store, ours, force=args.force, become=become, quiet=args.quiet, dry_run=args.dry_run)
    return 0


def _create(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.network.membership import members  # noqa: PLC0415
    from machinectl.actions.network.networks import create_network, create_overlay  # noqa: PLC0415
    from machinectl.actions.network.wishes import make_wish, match_machines  # noqa: PLC0415

    wish = make_wish(
        args.name,
        subnets=args.subnet,
        ranges=args.ip_range,
        gateways=args.gateway,
        mtu=args.mtu,
        internal=args.internal,
        ipv6=args.ipv6,
        labels=args.label,
        options=args.opt,
        on=match_machines(args.on, members(store)),
    )
    if args.driver == "overlay":
        print(create_overlay(store, wish, machine=args.machine))
        return 0
    become = ask_become(args)
    print(create_network(store, wish, machine=args.machine, become=become, quiet=args.quiet))
    return 0


def _ls(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.network.networks import list_networks  # noqa: PLC0415

    found = list_networks(store, machine=args.machine, become=ask_become(args), quiet=args.quiet)
    if args.names_only:
        print("".join(f"{one['name']}\n" for one in found), end="")
    elif args.output == "json":
        print(json.dumps(found, indent=4, ensure_ascii=False))
    else:
        print(render_table(found), end="")
    return 0


def render_table(networks: list[dict[str, object]]) -> str:
    """A line for each network; `-` where it can't be told."""

    def words(found: object, otherwise: str) -> str:
        return ", ".join(map(str, found)) if isinstance(found, list) and found else otherwise

    return align(
        [
            _HEAD,
            *(
                "\t".join(
                    (
                        str(one["name"]),
                        str(one["driver"]),
                        words(one["subnets"], "-"),
                        "yes" if one["internal"] else "no",
                        "-" if one["endpoints"] is None else str(one["endpoints"]),
                        words(one["on"], "all"),
                    )
                )
                for one in networks
            ),
        ]
    )


def _inspect(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.network.networks import inspect_networks  # noqa: PLC0415

    become = ask_become(args)
    found = inspect_networks(store, args.names, machine=args.machine, become=become, quiet=args.quiet)
    print(json.dumps(found, indent=4, ensure_ascii=False))
    return 0


def _rm(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.network.networks import remove_network  # noqa: PLC0415

    become = ask_become(args)

    def one(name: str) -> str:
        remove_network(store, name, machine=args.machine, become=become, quiet=args.quiet)
        return name

    return _each(args.names, one, "networks could not be removed")


def _forget(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.network.networks import forget_machine  # noqa: PLC0415

    become = ask_become(args)

    def one(name: str) -> str:
        freed = forget_machine(
            store, name, machine=args.machine, force=args.force, become=become, quiet=args.quiet
        )
        return f"{name}: {freed['endpoints']} endpoints and {freed['addresses']} addresses are free again"

    return _each(args.names, one, "machines could not be forgotten")


def _each(names: list[str], work: Callable[[str], str], failed: str) -> int:
    """One after the other; one that fails hides no other. Raises the only one's error, or `SomeMachinesFailed`."""
    from machinectl.errors import MachinectlError, SomeMachinesFailed  # noqa: PLC0415

    names = list(dict.fromkeys(names))
    errors = []
    for name in names:
        try:
            print(work(name))
        except MachinectlError as error:
            if len(names) == 1:
                raise
            errors.append(error)
    if errors:
        text = "\n".join(str(one) for one in errors)
        raise SomeMachinesFailed(f"{len(errors)} of {len(names)} {failed}\n{text}")
    return 0


def _doctor(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.fleet import raise_failures  # noqa: PLC0415
    from machinectl.actions.network.doctor import examine, render_findings  # noqa: PLC0415

    outcomes = examine(store, args.name, fix=args.fix, machines=args.machine, become=ask_become(args))
    if args.output == "json":
        found = [
            {"machine": one.name, "findings": one.result, "error": str(one.error) if one.error else ""}
            for one in outcomes
        ]
        print(json.dumps(found, indent=4, ensure_ascii=False))
    else:
        print("".join(render_findings(one.name, one.result or ()) for one in outcomes), end="")
    left = [one for outcome in outcomes for one in outcome.result or () if not one.get("fixed")]
    if not left and args.output == "text" and not any(one.error for one in outcomes):
        print(f"{len(outcomes)} members looked: nothing is wrong")
    sys.stdout.flush()
    raise_failures(outcomes)
    return 1 if left else 0


def _migrate(args: argparse.Namespace, store: Store) -> int:
    from machinectl.actions.network.classic import classic_machines  # noqa: PLC0415
    from machinectl.actions.network.migrate import migrate  # noqa: PLC0415
    from machinectl.actions.report import Report  # noqa: PLC0415

    machines = list(dict.fromkeys(args.machines)) or classic_machines(store)
    report = Report(args.name, quiet=args.quiet)
    migrate(store, args.name, machines, say=report.line, restart=args.restart, dry_run=args.dry_run)
    return 0
