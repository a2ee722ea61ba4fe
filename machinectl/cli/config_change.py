"""`machinectl config set|get|unset`: daemon options and proxies of engines that are running."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from machinectl.cli.become_flag import add_become_flag, ask_become

EXAMPLES = """examples:
  machinectl config set node1 registry-mirrors+=https://mirror.example.com
  machinectl config set 'web*' max-concurrent-downloads=6 log-driver=local log-opts+=max-size=10m
  machinectl config set all HTTPS_PROXY=http://proxy:3128 NO_PROXY=registry.lan
  machinectl config set node1 registry-mirrors-=https://mirror.example.com
  machinectl config get node1
  machinectl config get node1 registry-mirrors
  machinectl config unset 'web*' log-driver log-opts HTTPS_PROXY

KEY is daemon.json's key or dockerd's flag (docs/reference.md has the table); in capitals, or as env.name, it is a
variable of dockerd's environment. KEY=VALUE is the whole value: of a list give several, or daemon.json's JSON.
KEY+=VALUE is one entry more and KEY-=VALUE one less, of a list or a map (a map's by its name).

What the host's owner wrote into daemon.json stays; `unset` takes back what machinectl put there, and what that had
replaced comes back. dockerd is reloaded where that is enough, else restarted; containers go on (live-restore). A
value that dockerd refuses changes nothing. `machinectl provision` brings the same settings to a host again.

A machine that is named `set`, `get` or `unset`: `machinectl config -- set`.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="set|get|unset", required=True)
    for verb, words, text in (
        ("set", "KEY=VALUE", "change settings of machines"),
        ("unset", "KEY", "take settings back"),
    ):
        one = _verb(verbs, verb, text)
        one.add_argument(
            "pattern", metavar="PATTERN", help="machines, as for exec: names, web*, all, a,b, !c"
        )
        one.add_argument("changes", nargs="+", metavar=words)
        one.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
        add_become_flag(one)
    get = _verb(verbs, "get", "print settings that are wanted")
    get.add_argument("name", metavar="NAME", help="the machine")
    get.add_argument("key", nargs="?", metavar="KEY", help="only this one's value, one entry a line")
    get.add_argument("--output", choices=("text", "json"), default="text")


def _verb(verbs: Any, name: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return parser


def run(args: argparse.Namespace) -> int:
    return _get(args) if args.verb == "get" else _change(args)


def _change(args: argparse.Namespace) -> int:
    from machinectl.actions.engine_settings import Edit, configure, parse_edit, parse_key  # noqa: PLC0415 - slow
    from machinectl.actions.patterns import choose_names  # noqa: PLC0415
    from machinectl.errors import UsageError  # noqa: PLC0415
    from machinectl.store.store import Store  # noqa: PLC0415

    if args.verb == "set":
        edits = [parse_edit(text) for text in args.changes]
    else:
        wrong = next((text for text in args.changes if "=" in text), "")
        if wrong:
            key = wrong.partition("=")[0].rstrip("+-")
            raise UsageError(f"unset {key}=…: a key is wanted", hint=f"one entry: config set … {key}-=VALUE")
        edits = [Edit(*parse_key(text), "") for text in args.changes]
    store = Store(args.storage_path)
    names = choose_names([args.pattern], store.names())

    def say(text: str) -> None:
        if not args.quiet:
            print(text, file=sys.stderr)

    become = ask_become(args)
    configure(store, names, edits, become=become, say=say, quiet=args.quiet, dry_run=args.dry_run)
    return 0


def _get(args: argparse.Namespace) -> int:
    from machinectl.actions.engine_settings import value_of  # noqa: PLC0415 - as above
    from machinectl.store.store import Store  # noqa: PLC0415

    machine = Store(args.storage_path).load(args.name)
    if args.key:
        value = value_of(machine, args.key)
        print(
            json.dumps(value, indent=4, ensure_ascii=False) if args.output == "json" else render_value(value)
        )
        return 0
    options, env = shown(machine.engine)
    if args.output == "json":
        print(json.dumps({"options": options, "env": env}, indent=4, ensure_ascii=False))
        return 0
    for key, value in [*sorted(options.items()), *sorted(env.items())]:
        print(f"{key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    return 0


def shown(engine: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Options and environment for a list: without passwords. A single key's value is printed as it is."""
    from machinectl_agent.spec import redact_document  # noqa: PLC0415 - as above

    return redact_document(dict(engine.get("options") or {})), dict.fromkeys(
        engine.get("env") or {}, "(hidden)"
    )


def render_value(value: Any) -> str:
    """One entry a line."""
    if isinstance(value, list):
        return "\n".join(render_value(one) if isinstance(one, str) else json.dumps(one) for one in value)
    if isinstance(value, dict):
        return "\n".join(
            f"{key}={one if isinstance(one, str) else json.dumps(one)}" for key, one in value.items()
        )
    return value if isinstance(value, str) else json.dumps(value)
