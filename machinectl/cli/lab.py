"""`machinectl lab`: real systemd hosts on this Linux machine."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from machinectl.errors import UsageError
from machinectl.lab.settings import MIXED, SUITES, Settings, settings_from_environment

EXAMPLES = """examples:
  machinectl lab up                              # node1 and node2, Debian bookworm
  machinectl lab up --machines 3 --suite mixed   # bookworm, trixie and sid
  machinectl lab ssh node1
  machinectl create --ip 198.18.0.11 --ssh-key /var/lib/machinectl-lab/key node1
  machinectl lab reboot node1
  machinectl lab down                            # everything but the images

Needs root, and Debian's packages debootstrap, systemd-container and nftables.
Environment: MACHINECTL_LAB_DIR, _CACHE, _BRIDGE, _SUBNET, and _MIRROR for the package mirror.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("--bridge", metavar="NAME", help="the lab's bridge (default mclab0)")
    parser.add_argument("--subnet", metavar="CIDR", help="the lab's addresses (default 198.18.0.0/24)")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    up = verbs.add_parser("up", help="make and boot hosts; those that run are left alone")
    up.add_argument("--machines", type=int, default=2, metavar="N", help="how many (default 2)")
    up.add_argument("--suite", default="bookworm", choices=(*SUITES, "mixed"), help="Debian's suite")
    up.add_argument("--kind", default="container", choices=("container",), help="systemd-nspawn hosts")
    up.add_argument("--prefix", default="node", help="names are PREFIX1, PREFIX2, … (default node)")
    up.add_argument("--isolated", action="store_true", help="no way to the Internet from the new hosts")
    up.add_argument("--no-python", action="store_true", help="new hosts have no Python")
    up.add_argument("--cgroup", default="v2", choices=("v1", "v2"), help="cgroup tree of the new hosts")
    up.add_argument(
        "--inventory", type=Path, metavar="FILE", help="write an inventory of the hosts here, too"
    )
    ls = verbs.add_parser("ls", help="list the hosts")
    ls.add_argument("--output", default="table", choices=("table", "json"))
    ssh = verbs.add_parser("ssh", help="log into a host, or run a command there")
    ssh.add_argument("name")
    ssh.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    reboot = verbs.add_parser("reboot", help="reboot hosts")
    reboot.add_argument("names", nargs="+", metavar="NAME")
    down = verbs.add_parser("down", help="remove hosts, or the whole lab")
    down.add_argument("names", nargs="*", metavar="NAME")
    down.add_argument("--all", action="store_true", help="every host (the same as no name)")
    verbs.add_parser("busybox", help="write a busybox image to stdout, for `docker import - busybox:latest`")
    images = verbs.add_parser("images", help="list, build or remove base images")
    images.add_argument("action", nargs="?", default="ls", choices=("ls", "build", "rm"))
    images.add_argument("suites", nargs="*", metavar="SUITE")


def run(args: argparse.Namespace) -> int:
    settings = settings_from_environment(args.bridge or "", args.subnet or "")
    verbs = {"up": _up, "ls": _ls, "ssh": _ssh, "reboot": _reboot, "down": _down, "busybox": _busybox}
    return {**verbs, "images": _images}[args.verb](args, settings)


def _up(args: argparse.Namespace, settings: Settings) -> int:
    from machinectl.lab.inventory import write_inventory  # noqa: PLC0415 - --help must not wait for the lab
    from machinectl.lab.lab import HostWish, Lab  # noqa: PLC0415

    if args.machines < 1:
        raise UsageError(f"--machines {args.machines}: at least one")
    suites = MIXED if args.suite == "mixed" else (args.suite,)
    wishes = [
        HostWish(
            f"{args.prefix}{number + 1}",
            suites[number % len(suites)],
            python=not args.no_python,
            isolated=args.isolated,
            cgroup=args.cgroup,
        )
        for number in range(args.machines)
    ]
    lab = Lab(settings, (lambda _: None) if args.quiet else (lambda text: print(text, file=sys.stderr)))
    hosts = lab.up(wishes)
    if args.inventory:
        write_inventory(args.inventory, hosts)
    for host in hosts:
        print(f"{host.name}\t{host.ip}\t{host.suite}")
    return 0


def _ls(args: argparse.Namespace, settings: Settings) -> int:
    from machinectl.lab.lab import Lab  # noqa: PLC0415

    rows = [
        {
            "name": host.name,
            "suite": host.suite,
            "state": "Running" if host.running else "Stopped",
            "ip": host.ip,
            "key": str(host.key),
        }
        for host in Lab(settings).hosts()
    ]
    if args.output == "json":
        print(json.dumps(rows, indent=4))
        return 0
    print(f"{'NAME':12} {'SUITE':10} {'STATE':8} IP")
    for row in rows:
        print(f"{row['name']:12} {row['suite']:10} {row['state']:8} {row['ip']}")
    return 0


def _ssh(args: argparse.Namespace, settings: Settings) -> int:
    from machinectl.lab.lab import Lab  # noqa: PLC0415

    host = Lab(settings).host(args.name)
    words = args.words[1:] if args.words[:1] == ["--"] else args.words
    # a host that is made again has new keys: they are not worth remembering in a lab
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    os.execvp("ssh", ["ssh", *options, "-i", str(host.key), f"root@{host.ip}", *words])  # noqa: S606 - that is the point


def _reboot(args: argparse.Namespace, settings: Settings) -> int:
    from machinectl.lab.lab import Lab  # noqa: PLC0415

    for name in args.names:
        Lab(settings).reboot(name)
    return 0


def _down(args: argparse.Namespace, settings: Settings) -> int:
    from machinectl.lab.lab import Lab  # noqa: PLC0415

    removed = Lab(settings).down(None if args.all else args.names or None)
    print(f"removed: {', '.join(removed)}" if removed else "there is no lab", file=sys.stderr)
    return 0


def _busybox(_: argparse.Namespace, settings: Settings) -> int:
    from machinectl.lab.busybox import busybox_tar  # noqa: PLC0415

    sys.stdout.buffer.write(busybox_tar(settings.cache))
    return 0


def _images(args: argparse.Namespace, settings: Settings) -> int:
    from machinectl.lab.images import ensure_image, image_path, list_images, remove_image  # noqa: PLC0415
    from machinectl.lab.tools import check_ready  # noqa: PLC0415

    if args.action == "ls":
        for suite in list_images(settings.cache):
            print(f"{suite}\t{image_path(settings.cache, suite)}")
        return 0
    check_ready()
    for suite in args.suites or SUITES:
        if args.action == "build":
            ensure_image(settings.cache, suite, lambda text: print(text, file=sys.stderr))
        else:
            remove_image(settings.cache, suite)
    return 0
