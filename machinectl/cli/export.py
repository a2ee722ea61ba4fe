"""`machinectl export NAME -o FILE`: a machine as one encrypted file, for another store."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from machinectl.cli.passphrase import add_passphrase_flag, passphrase

EXAMPLES = """examples:
  machinectl export node1 -o node1.machine
  machinectl export --with-ca --passphrase-file ~/.pass node1 -o node1.machine
  machinectl import node1.machine              # on the other computer

The file holds the machine's record, its certificates, the client's key, the pinned host key and the contents of
its files, encrypted with the passphrase (scrypt, ChaCha20-Poly1305). The client's key opens every engine of this
store's CA. The CA's own key is in it only with --with-ca: without it the other store can use the machine, but can't
renew its certificates. Private SSH keys outside the store are not in it. For all machines at once copy the store.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("name", metavar="NAME", help="the machine")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="must not be there yet")
    parser.add_argument("--with-ca", action="store_true", help="the key of its CA as well")
    add_passphrase_flag(parser)


def run(args: argparse.Namespace) -> int:
    from machinectl.actions.export import export_machine  # noqa: PLC0415 - --help must not wait for it
    from machinectl.store.store import Store  # noqa: PLC0415

    store = Store(args.storage_path)
    store.load(args.name)  # before anybody types a passphrase
    target = Path(args.output).expanduser()
    done = export_machine(store, args.name, target, passphrase(args, new=True), with_ca=args.with_ca)
    if not args.quiet:
        if done.with_ca:
            print(
                f"{target} holds the CA's key: whoever opens it controls every machine of this CA, "
                "and can make certificates for it",
                file=sys.stderr,
            )
        if done.ssh_key:
            print(
                f"the SSH key {done.ssh_key} is not in it: the other side needs one of its own",
                file=sys.stderr,
            )
    return 0
