"""The flags of `machinectl network join` and `create`, and what its verbs share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]

JOIN = """examples:
  machinectl network join node1 node2
  machinectl network join --advertise eth1 node1 node2       # peers' packets go to that interface's address
  machinectl network join --advertise 10.0.0.11 node1
  machinectl network join --pool 10.88.0.0/16 --pool-size 26 node1 node2
  machinectl network join --dry-run node1

dockerd is restarted once, for its DNS server; running containers live on, and find names of other machines
after they have been started anew.
"""

CREATE = """examples:
  machinectl network create demo
  machinectl network create --subnet 10.77.5.0/24 --ip-range 10.77.5.128/25 --gateway 10.77.5.1 demo
  machinectl network create --subnet 10.77.6.0/24 --subnet fd77:6::/64 --ipv6 both
  machinectl network create --internal --label team=blue --on 'web*' private

--ip-range and --gateway belong to the --subnet that holds them.
"""


def add_verb(
    verbs: Verbs, name: str, text: str, *, examples: str = "", asks: bool = False
) -> argparse.ArgumentParser:
    """`asks`: any member can answer, and --machine names the one."""
    parser = verbs.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if asks:
        parser.add_argument(
            "--machine",
            default="",
            metavar="MACHINE",
            help="ask this member (default: the first that answers)",
        )
    return parser


def add_join(verbs: Verbs) -> None:
    parser = add_verb(verbs, "join", "machines become members, or are brought back to it", examples=JOIN)
    parser.add_argument("names", nargs="+", metavar="MACHINE")
    parser.add_argument(
        "--advertise",
        default="",
        metavar="IP|INTERFACE",
        help="where the other machines' packets go (default: the address that leads to etcd)",
    )
    parser.add_argument(
        "--pool",
        action="append",
        default=[],
        metavar="CIDR",
        help="where subnets are chosen from (default: 10.77.0.0/16 and fd77:6d63:746c::/48)",
    )
    parser.add_argument(
        "--pool-size",
        type=_pool_size,
        default=0,
        metavar="LENGTH",
        help="prefix length of a chosen IPv4 subnet, 8 to 29 (default: 24)",
    )
    _driver(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")


def _pool_size(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 8 <= int(text) <= 29):
        raise argparse.ArgumentTypeError(f"a number from 8 to 29 is wanted, not {text!r}")
    return int(text)


def add_create(verbs: Verbs) -> None:
    parser = add_verb(
        verbs, "create", "make a network on all members; prints its id", examples=CREATE, asks=True
    )
    parser.add_argument("name", metavar="NAME")
    for flag, metavar, text in (
        ("--subnet", "CIDR", "default: a free one is chosen; once more for IPv6"),
        ("--ip-range", "CIDR", "part of the subnet that containers get their addresses from"),
        ("--gateway", "IP", "address that is kept free of containers (default: the subnet's first)"),
        ("--label", "KEY=VALUE", "as Docker's"),
        ("--opt", "KEY=VALUE", "option of the driver"),
        ("--on", "PATTERN", "only on members whose names match, `web*` (default: on all, later ones too)"),
    ):
        parser.add_argument(flag, action="append", default=[], metavar=metavar, help=text)
    parser.add_argument(
        "--mtu",
        type=int,
        default=0,
        metavar="BYTES",
        help="of the containers' interfaces (default: what fits)",
    )
    parser.add_argument("--internal", action="store_true", help="no way out of the network")
    parser.add_argument(
        "--ipv6", action="store_true", help="IPv6 as well; a subnet is chosen where none is given"
    )
    _driver(parser)


def _driver(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-d",
        "--driver",
        choices=("machinectl", "overlay"),
        default="machinectl",
        help="overlay: classic mode, Docker's own driver (Engine before 23)",
    )
