"""`machinectl exec PATTERN… -- COMMAND`: one command on many machines at once."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from typing import TYPE_CHECKING, Any

from machinectl.cli.become_flag import add_become_flag, ask_become
from machinectl.cli.counts import count
from machinectl.cli.words import seconds
from machinectl.errors import UsageError

if TYPE_CHECKING:
    from machinectl.actions.execute import Ran
    from machinectl.actions.fleet import Outcome

EXAMPLES = """examples:
  machinectl exec all -- uptime
  machinectl exec 'web*' db1 -- docker ps -q
  machinectl exec 'web*:!web3' -- 'df -h / | tail -1'
  machinectl exec --become --parallel 2 --timeout 1800 all -- apt-get -y upgrade
  machinectl exec --output json all -- uname -r | jq -r '.[] | "\\(.name) \\(.stdout)"'

patterns: names, globs (web*, web[12]), ~REGEX, all; several by `,` or `:`; `!x` takes away, `&x` keeps what is in
both. A word that matches no machine is an error.

The command is run by the login shell of the user who logs in (--become: root's, by sudo). One word is a shell
script, several are passed on as they are: `-- echo '$HOME'` is expanded there, `-- ls 'a b'` lists one file.
Its stdin is empty. Ctrl-C and --timeout end it on the hosts, too.

exit status: 0 where all of them gave 0, 3 where some of several failed, 1 where the only one did.
"""

DEFAULT_TIMEOUT = 300.0

KEPT = 4 * 1024 * 1024
"""Bytes of each stream of each machine for --output json."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.usage = "machinectl exec [OPTION…] PATTERN… -- COMMAND [ARG…]"
    _add_flags(parser)
    # one list: argparse can't tell patterns from the command
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="PATTERN… -- COMMAND", help="see above")


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--parallel", type=count, default=16, metavar="N", help="machines at once (default 16)"
    )
    parser.add_argument(
        "--timeout", default="", metavar="SECONDS", help=f"for each machine (default {DEFAULT_TIMEOUT:g})"
    )
    parser.add_argument(
        "--output", choices=("text", "json"), default="text", help="json: all at the end, as one list"
    )
    parser.add_argument("-b", "--become", action="store_true", help="as root, by sudo where need be")
    add_become_flag(parser)


def run(args: argparse.Namespace) -> int:
    patterns, command = _words(args)
    within = seconds(args.timeout, DEFAULT_TIMEOUT)
    from machinectl.actions.execute import execute, failures  # noqa: PLC0415 - --help must not wait for it
    from machinectl.actions.fleet import raise_failures  # noqa: PLC0415
    from machinectl.actions.patterns import choose_names  # noqa: PLC0415
    from machinectl.cli.prefixed import Prefixed  # noqa: PLC0415
    from machinectl.remote.become import Become  # noqa: PLC0415
    from machinectl.store.store import Store  # noqa: PLC0415

    store = Store(args.storage_path)
    names = choose_names(patterns, store.names())
    become = ask_become(args) if args.become or args.ask_become_pass else Become("none")
    kept = _Kept()
    sink = (
        kept.write if args.output == "json" else Prefixed(names, sys.stdout.buffer, sys.stderr.buffer).write
    )
    outcomes = execute(store, names, command, sink, become=become, within=within, parallel=args.parallel)
    judged = failures(outcomes)
    if args.output == "json":
        print(json.dumps([kept.document(one) for one in outcomes], indent=4, ensure_ascii=False))
    sys.stdout.flush()
    raise_failures(judged)
    return 0


def _words(args: argparse.Namespace) -> tuple[list[str], str]:
    """The patterns and the command; options may stand among the patterns, too. Raises UsageError."""
    words: list[str] = args.words
    if "--" not in words:
        raise UsageError("the command is missing", hint="machinectl exec PATTERN… -- COMMAND")
    split = words.index("--")
    parser = argparse.ArgumentParser(
        prog="machinectl exec",
        usage="machinectl exec [OPTION…] PATTERN… -- COMMAND [ARG…]",
        allow_abbrev=False,
    )
    _add_flags(parser)
    parser.add_argument("patterns", nargs="*")
    parser.parse_args(words[:split], args)
    command = words[split + 1 :]
    if not command:
        raise UsageError("the command is missing", hint="machinectl exec PATTERN… -- COMMAND")
    return args.patterns, command[0] if len(command) == 1 else shlex.join(command)


class _Kept:
    """A sink that keeps what comes, up to a bound."""

    def __init__(self) -> None:
        self._streams: dict[tuple[str, str], bytearray] = {}
        self._cut: set[str] = set()

    def write(self, name: str, kind: str, part: bytes) -> None:
        kept = self._streams.setdefault((name, kind), bytearray())
        if len(kept) + len(part) > KEPT:
            self._cut.add(name)
        kept += part[: KEPT - len(kept)]

    def document(self, outcome: Outcome[Ran]) -> dict[str, Any]:
        """name, stdout, stderr, and status and seconds, or error where there is none."""
        texts = {
            kind: self._streams.get((outcome.name, kind), b"").decode(errors="replace")
            for kind in ("stdout", "stderr")
        }
        ran = outcome.result
        return {
            "name": outcome.name,
            "status": ran.status if ran else None,
            "seconds": round(ran.seconds, 3) if ran else None,
            **texts,
            "truncated": outcome.name in self._cut,
            "error": outcome.error.document() if outcome.error else None,
        }
