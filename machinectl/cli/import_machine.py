"""`machinectl import FILE…`, `import --docker-machine DIR [NAME…]`: machines of other stores."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from machinectl.cli.passphrase import add_passphrase_flag, passphrase
from machinectl.errors import MachinectlError, SomeMachinesFailed, UsageError

if TYPE_CHECKING:
    from machinectl.actions.import_machine import Imported

EXAMPLES = """examples:
  machinectl import node1.machine
  machinectl import --passphrase-file ~/.pass node1.machine node2.machine
  machinectl import --docker-machine ~/.docker/machine
  machinectl import --docker-machine /backup/machine node1 node2

Nothing on the machine's host changes, and nothing here where the passphrase is wrong or the file is damaged. Where
this store has a CA of its own, the machine keeps the one that its host knows. SSH is used with your own keys
(`machinectl create --ip ADDRESS --ssh-key FILE NAME` names another one).

--docker-machine reads a store of docker-machine's (any version of its config.json): machines, certificates, CA and
SSH keys are copied, that store is only read, and the engines go on answering. Machines of other drivers than generic
are taken by their address; their virtual machines are started, stopped and removed by whatever made them.
"""

_AUTHORITIES = {
    "same": "it has this store's CA",
    "store": "its CA, with the key, is this store's now",
    "own": "it keeps its own CA, whose key came with it",
    "own, no key": "it keeps its own CA; without the CA's key its certificates can't be renewed here",
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="FILE|NAME",
        help="made by `machinectl export`; names with --docker-machine",
    )
    parser.add_argument(
        "--docker-machine", metavar="DIR", help="a store of docker-machine's: ~/.docker/machine"
    )
    add_passphrase_flag(parser)


def run(args: argparse.Namespace) -> int:
    if args.docker_machine:
        return _import_docker_machine(args)
    if not args.sources:
        raise UsageError("the file is missing", hint="machinectl import FILE…, or --docker-machine DIR")
    return _import_files(args)


def _import_docker_machine(args: argparse.Namespace) -> int:
    from machinectl.actions.fleet import raise_failures  # noqa: PLC0415 - --help must not wait for it
    from machinectl.actions.import_docker_machine import import_docker_machine  # noqa: PLC0415
    from machinectl.store.store import Store  # noqa: PLC0415

    source = Path(args.docker_machine).expanduser()
    outcomes = import_docker_machine(Store(args.storage_path), source, list(dict.fromkeys(args.sources)))
    for one in outcomes:
        if one.result:
            _tell(args, one.result)
    if not outcomes and not args.quiet:
        print(f"there are no machines in {source}", file=sys.stderr)
    raise_failures(outcomes)
    return 0


def _import_files(args: argparse.Namespace) -> int:
    from machinectl.actions.exported import check_sealed  # noqa: PLC0415 - --help must not wait for it
    from machinectl.actions.import_machine import import_machine  # noqa: PLC0415
    from machinectl.store.store import Store  # noqa: PLC0415

    store = Store(args.storage_path)
    for source in args.sources:  # before anybody types a passphrase
        check_sealed(Path(source).expanduser())
    secret = passphrase(args, new=False)
    failed = []
    for source in args.sources:
        try:
            _tell(args, import_machine(store, Path(source).expanduser(), secret))
        except MachinectlError as error:
            if len(args.sources) == 1:
                raise
            failed.append(str(error))
    if failed:
        raise SomeMachinesFailed(f"{len(failed)} of {len(args.sources)} files failed\n" + "\n".join(failed))
    return 0


def _tell(args: argparse.Namespace, one: Imported) -> None:
    print(one.machine.name, flush=True)
    if not args.quiet:
        for line in (_AUTHORITIES[one.authority], *(f"not taken over: {left}" for left in one.left)):
            print(f"{one.machine.name}: {line}", file=sys.stderr)
    if one.warning:
        print(f"warning: {one.machine.name}: {one.warning}", file=sys.stderr)
