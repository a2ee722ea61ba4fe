"""`machinectl create`: a host that we can SSH to becomes a machine of ours."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from machinectl.cli.become_flag import add_become_flag, add_share_flag, add_take_over_flag, ask_become
from machinectl.cli.context_flags import add_context_flags, wanted_contexts
from machinectl.cli.engine_flags import add_engine_flags, engine_wishes
from machinectl.errors import UsageError

EXAMPLES = """examples:
  machinectl create --ip 192.168.1.10 node1
  machinectl create --ip 192.168.1.11 --ssh-user ops --ask-become-pass node2
  machinectl create --ip 10.0.0.5 --ssh-jump bastion.example.com edge1
  machinectl create --ip 192.168.1.12 --engine-registry-mirror https://mirror.example.com \\
      --engine-insecure-registry registry.lan:5000 node3
  machinectl create --ip 192.168.1.13 --engine-mirror https://download.docker.com --engine-version 26.1 node4
  machinectl create --ip 192.168.1.14 --engine-package ./docker.io_26.deb --engine-package ./runc_1.deb node5
  machinectl create --ip 192.168.1.10 --dry-run node1        # only print what would be done

what a repeated create does: it finishes an earlier one that was killed or failed; on a ready machine it finds
nothing to do. Settings of a ready machine are changed with `machinectl provision NAME [flags]`.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("name", nargs="?", help="the machine's name (letters, digits, - and .)")
    parser.add_argument(
        "-d", "--driver", default=os.environ.get("MACHINE_DRIVER") or "generic", help=argparse.SUPPRESS
    )
    parser.add_argument(
        "--ip",
        "--generic-ip-address",
        default=os.environ.get("GENERIC_IP_ADDRESS") or None,
        metavar="ADDRESS",
        help="address of the host: IPv4, IPv6 or a name",
    )
    ssh = parser.add_argument_group("SSH (~/.ssh/config and ssh-agent are honoured)")
    ssh.add_argument(
        "--ssh-user",
        "--generic-ssh-user",
        default=os.environ.get("GENERIC_SSH_USER") or None,
        metavar="USER",
        help="default: as ~/.ssh/config says, else root",
    )
    ssh.add_argument(
        "--ssh-port",
        "--generic-ssh-port",
        default=os.environ.get("GENERIC_SSH_PORT") or None,
        type=int,
        metavar="PORT",
        help="default: as ~/.ssh/config says, else 22",
    )
    ssh.add_argument(
        "--ssh-key",
        "--generic-ssh-key",
        default=os.environ.get("GENERIC_SSH_KEY") or None,
        metavar="FILE",
        help="private key; default: ssh-agent, ~/.ssh/config, ~/.ssh/id_*",
    )
    ssh.add_argument("--ssh-jump", metavar="[USER@]HOST[:PORT]", help="go through this host (ProxyJump)")
    ssh.add_argument("--ssh-config", metavar="FILE", help="instead of ~/.ssh/config")
    add_take_over_flag(parser)
    add_share_flag(parser)
    add_become_flag(ssh)
    ssh.add_argument(
        "--replace-host-key", action="store_true", help="the host was reinstalled: pin its new key"
    )
    host = parser.add_argument_group("host")
    host.add_argument("--os", metavar="FAMILY", help="take the host for debian, redhat, suse or arch")
    host.add_argument("--set-hostname", action="store_true", help="set the host's name to the machine's name")
    host.add_argument(
        "--adopt", action="store_true", help="never install or upgrade: take the engine that is there"
    )
    add_engine_flags(parser)
    parser.add_argument(
        "--engine-port",
        "--generic-engine-port",
        default=os.environ.get("GENERIC_ENGINE_PORT") or None,
        type=int,
        metavar="PORT",
        help="TCP port of dockerd, TLS with client certificates only (default 2376)",
    )
    parser.add_argument(
        "--tls-san", action="append", metavar="NAME", help="further name or address in the certificate"
    )
    add_context_flags(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")


def run(args: argparse.Namespace) -> int:
    from machinectl.actions.create import create  # noqa: PLC0415 - --help must not wait for it
    from machinectl.actions.registry.cas import parse_assignments  # noqa: PLC0415
    from machinectl.actions.report import Report  # noqa: PLC0415
    from machinectl.actions.wishes import new_machine, package_files  # noqa: PLC0415
    from machinectl.store.paths import portable_path  # noqa: PLC0415
    from machinectl.store.store import Store  # noqa: PLC0415

    _check(args)
    wishes = engine_wishes(args)
    if args.adopt:
        wishes["adopt"] = True
    packages = package_files(args.engine_package or ())
    if packages:
        wishes["packages"] = packages
    cas = parse_assignments(args.registry_ca, Path(args.storage_path))
    machine = new_machine(
        name=args.name,
        ip=args.ip,
        ssh={
            "port": args.ssh_port or 0,
            "user": args.ssh_user or "",
            "key": portable_path(args.ssh_key or "", Path(args.storage_path)),
            "jump": args.ssh_jump or "",
            "config": str(Path(args.ssh_config).expanduser().absolute()) if args.ssh_config else "",
        },
        engine_port=args.engine_port or 2376,
        engine=wishes,
        host={
            "os": args.os or "",
            "hostname": args.name if args.set_hostname else "",
            "registry_cas": {place: one for place, one in cas.items() if one},
        },
        tls_san=tuple(args.tls_san or ()),
    )
    create(
        Store(args.storage_path),
        machine,
        become=ask_become(args),
        report=Report(machine.name, quiet=args.quiet),
        dry_run=args.dry_run,
        replace_host_key=args.replace_host_key,
        take_over=args.take_over,
        share=args.share,
        context=wanted_contexts(args, [machine.name]).get(machine.name, ""),
    )
    return 0


def _check(args: argparse.Namespace) -> None:
    if args.driver not in ("generic", ""):
        raise UsageError(
            f"there is no driver {args.driver!r}",
            why="machinectl makes Docker hosts of hosts that exist already; it rents and boots none",
            hint="leave --driver out and give --ip",
        )
    if not args.name:
        raise UsageError(
            "a name for the machine is missing", hint="machinectl create --ip 192.168.1.10 node1"
        )
    if not args.ip:
        raise UsageError(
            "the address of the host is missing", hint=f"machinectl create --ip 192.168.1.10 {args.name}"
        )
    if args.adopt and (args.engine_version or args.engine_mirror or args.engine_package):
        raise UsageError(
            "--adopt takes the engine as it is",
            hint="leave --adopt out to install a version, or the version out",
        )
    for flag, port in (("--ssh-port", args.ssh_port), ("--engine-port", args.engine_port)):
        if port is not None and not 0 < port < 65536:
            raise UsageError(f"{flag} {port}: a port is a number from 1 to 65535")
    if args.engine_port == 2375:
        raise UsageError(
            "--engine-port 2375: this port means Docker without TLS to every client",
            hint="leave it out (2376) or take another one",
        )
    if args.engine_install_url:
        print(
            "warning: --engine-install-url is not used: packages are installed, no script from a URL is run; "
            "--engine-mirror chooses where from",
            file=sys.stderr,
        )
