"""What start, stop, kill and restart share: names, docker-machine's sentences, exit status."""

from __future__ import annotations

import argparse
import sys

from machinectl.cli.become_flag import add_become_flag, ask_become
from machinectl.cli.words import names_or_default

_DONE = {"start": "started", "stop": "stopped", "kill": "killed"}


def configure_power(parser: argparse.ArgumentParser, examples: str) -> None:
    """NAME… and --ask-become-pass."""
    parser.epilog = examples
    parser.add_argument("names", nargs="*", metavar="NAME", help="machines; default: the machine `default`")
    add_become_flag(parser)


def run_power(args: argparse.Namespace, action: str, *, containers: bool = False) -> int:
    """A line for every machine on stdout; exit status 3 where several were asked and some failed."""
    from machinectl.actions.fleet import raise_failures  # noqa: PLC0415 - --help must not wait for it
    from machinectl.actions.power import power  # noqa: PLC0415
    from machinectl.store.store import Store  # noqa: PLC0415

    store = Store(args.storage_path)
    names = machine_names(args)
    outcomes = power(store, names, action, become=ask_become(args), quiet=args.quiet, containers=containers)
    for one in outcomes:
        if one.result:
            print(sentence(one.name, action, was_running=one.result.was_running))
            if action != "start" and one.result.containers and not args.quiet:
                print(f"{one.name}: {_containers(one.result.containers, containers)}", file=sys.stderr)
    sys.stdout.flush()
    raise_failures(outcomes)
    return 0


def machine_names(args: argparse.Namespace) -> list[str]:
    """Each once, in the order given."""
    return list(dict.fromkeys(names_or_default(args.storage_path, args.names)))


def sentence(name: str, action: str, *, was_running: bool) -> str:
    """docker-machine's."""
    if action == "start" and was_running:
        return f'Machine "{name}" is already running.'
    if action != "start" and not was_running:
        return f'Machine "{name}" is already stopped.'
    return f'Machine "{name}" was {_DONE[action]}.'


def _containers(count: int, ended: bool) -> str:
    noun = "container" if count == 1 else "containers"
    if ended:
        return f"{count} {noun} ended"
    go = "goes" if count == 1 else "go"
    return f"{count} {noun} {go} on running without the engine (--containers ends them, too)"
