"""`machinectl logs NAME [dockerd|agent|network|etcd|journal]`: what a machine's services have to say."""

from __future__ import annotations

import argparse
import sys

from machinectl.cli.become_flag import add_become_flag, ask_become
from machinectl.cli.words import default_name

WHAT = ("dockerd", "agent", "network", "etcd", "journal")

EXAMPLES = """examples:
  machinectl logs node1
  machinectl logs -f node1 agent
  machinectl logs --since 10m node1 network
  machinectl logs --since '2026-01-31 08:00' -n all node1 journal | grep -i oom
  machinectl logs -n 20 node1 etcd

dockerd (the default), agent, network and etcd are systemd's services of these; journal is all of the host's. --since
takes 10m, 2h30m, a time as RFC 3339 or as journalctl reads it. -f goes on until Ctrl-C, which ends it there, too.
Containers' logs are docker's: `docker logs`.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("name", nargs="?", metavar="NAME", help="the machine; default: the machine `default`")
    parser.add_argument("what", nargs="?", choices=WHAT, default="dockerd", help="default: dockerd")
    add_log_flags(parser)
    parser.add_argument("--since", default="", metavar="TIME", help="only what is newer than that")
    add_become_flag(parser)


def add_log_flags(parser: argparse.ArgumentParser) -> None:
    """-f and -n."""
    parser.add_argument("-f", "--follow", action="store_true", help="go on until interrupted")
    parser.add_argument(
        "-n", "--lines", type=_lines, metavar="N", help="the last N, or `all` (default 100; with --since all)"
    )


def run(args: argparse.Namespace) -> int:
    return show_logs(args, args.name or default_name(args.storage_path), args.what, args.since)


def show_logs(args: argparse.Namespace, name: str, what: str, since: str = "") -> int:
    """What `machinectl agent logs` does, too."""
    from machinectl.actions.logs import UNITS, logs  # noqa: PLC0415 - --help must not wait for it
    from machinectl.store.store import Store  # noqa: PLC0415

    count = logs(
        Store(args.storage_path),
        name,
        what,
        become=ask_become(args),
        write=_write,
        lines=args.lines or ("all" if since else "100"),
        since=since,
        follow=args.follow,
    )
    if not count and not args.quiet:
        unit = f" of {UNITS[what]}" if UNITS[what] else ""
        print(f"{name}: its journal has nothing{unit}{' since then' if since else ''}", file=sys.stderr)
    return 0


def _write(part: bytes) -> None:
    sys.stdout.buffer.write(part)
    sys.stdout.buffer.flush()


def _lines(text: str) -> str:
    if text != "all" and not text.isdigit():
        raise argparse.ArgumentTypeError("a number from 0 on, or `all`, is wanted")
    return text
