"""`machinectl set-ip NAME ADDRESS`: the host has another address now."""

from __future__ import annotations

import argparse

from machinectl.cli.become_flag import add_become_flag, ask_become

EXAMPLES = """examples:
  machinectl set-ip node1 192.168.1.77
  machinectl set-ip --ssh-host node1.example.com node1 203.0.113.7

Change the address on the host first. The host is known by its SSH key: another one at that address is refused, and
nothing changes. Certificates, known_hosts, docker context, etcd and networks follow; containers go on. A run that was
interrupted is finished by the next one.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("name", metavar="NAME")
    parser.add_argument(
        "address", metavar="ADDRESS", help="that docker clients reach it by: IPv4, IPv6 or a name"
    )
    parser.add_argument(
        "--ssh-host", default="", metavar="HOST", help="where SSH goes, if that is not ADDRESS"
    )
    parser.add_argument(
        "--replace-host-key", action="store_true", help="the host was reinstalled: pin its new key"
    )
    add_become_flag(parser)


def run(args: argparse.Namespace) -> int:
    from machinectl.actions.set_ip import set_ip  # noqa: PLC0415 - --help must not wait for it
    from machinectl.store.store import Store  # noqa: PLC0415

    machine = set_ip(
        Store(args.storage_path),
        args.name,
        args.address,
        ssh_host=args.ssh_host,
        become=ask_become(args),
        quiet=args.quiet,
        replace_host_key=args.replace_host_key,
    )
    print(machine.url)
    return 0
