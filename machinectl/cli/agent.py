"""`machinectl agent status|logs|upgrade`: what runs on the machines for us."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from machinectl.cli.become_flag import add_become_flag, ask_become
from machinectl.cli.logs import add_log_flags, show_logs
from machinectl.cli.table import align

EXAMPLES = """examples:
  machinectl agent status node1 node2
  machinectl agent status --output json node1
  machinectl agent logs -f node1
  machinectl agent upgrade node1 node2

The agent is a systemd service (machinectl-agent) that looks after dockerd: it restarts one that hangs for
three minutes, starts one that systemd has given up, and leaves alone what an admin has stopped. It listens
on no port; it is asked over SSH. `create` and `provision` bring it along, `upgrade` only replaces it.
"""

_HEAD = "NAME\tAGENT\tBUNDLE\tUPTIME\tMEMORY\tENGINE\tDOCKER\tPING\tRESTARTS\tPROBLEM"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    verbs = parser.add_subparsers(dest="verb", metavar="status|logs|upgrade", required=True)
    status = verbs.add_parser("status", help="what the agents say about themselves and their engines")
    status.add_argument("names", nargs="*", metavar="NAME", help="default: the machine `default`")
    status.add_argument("--output", choices=("table", "json"), default="table")
    logs = verbs.add_parser("logs", help="the agent's journal")
    logs.add_argument("name", nargs="?", default="default", metavar="NAME")
    add_log_flags(logs)
    upgrade = verbs.add_parser(
        "upgrade", help="replace the agents by this machinectl's; dockerd stays as it is"
    )
    upgrade.add_argument("names", nargs="*", metavar="NAME", help="default: the machine `default`")
    for one in (status, logs, upgrade):
        add_become_flag(one)


def run(args: argparse.Namespace) -> int:
    """Exit status 3 where several machines were asked and some failed; each one's result is shown."""
    if args.verb == "logs":
        return show_logs(args, args.name, "agent")
    from machinectl.actions.agent import agent_status, agent_upgrade  # noqa: PLC0415 - as in create
    from machinectl.actions.fleet import raise_failures  # noqa: PLC0415
    from machinectl.store.store import Store  # noqa: PLC0415

    store = Store(args.storage_path)
    become = ask_become(args)
    names = list(dict.fromkeys(args.names)) or ["default"]
    if args.verb == "status":
        statuses = agent_status(store, names, become=become)
        results = [(one.name, one.result, one.error) for one in statuses]
        print(_render_json(results) if args.output == "json" else render_table(results), end="")
        sys.stdout.flush()
        raise_failures(statuses)
        return 0
    upgrades = agent_upgrade(store, names, become=become, quiet=args.quiet)
    for one in upgrades:
        if one.result:
            print(f"{one.name}: {_change(one.result.before, one.result.after)}")
    sys.stdout.flush()
    raise_failures(upgrades)
    return 0


def render_table(results: list[tuple[str, dict[str, Any] | None, Any]]) -> str:
    """A line for every machine, also for one that did not answer: its problem's code."""
    return align([_HEAD, *(_row(name, status, error) for name, status, error in results)])


def _row(name: str, status: Mapping[str, Any] | None, error: Any) -> str:
    if status is None:
        return "\t".join([name, *["-"] * 8, str(error.problem)])
    agent, engine = status["agent"], status["engine"]
    latency = engine["latency"]
    return "\t".join(
        (
            name,
            str(agent["version"]),
            str(agent["bundle"])[:12] + ("" if status["current"] else " (not ours)"),
            _duration(float(agent["uptime"])),
            f"{agent['memory'] / 1e6:.1f} MB",
            str(engine["state"]),
            str(engine["version"]) or "-",
            "-" if latency is None else f"{latency:.1f} ms",
            str(engine["restarts"]),
            str(engine["problem"]),
        )
    )


def _render_json(results: list[tuple[str, dict[str, Any] | None, Any]]) -> str:
    """A list with an object for every machine: name and either agent, engine, events, current, or error."""
    documents = [
        {"name": name, **status}
        if status is not None
        else {
            "name": name,
            "error": error.document(),
        }
        for name, status, error in results
    ]
    return json.dumps(documents, indent=4, ensure_ascii=False) + "\n"


def _change(before: str, after: str) -> str:
    if before == after:
        return f"runs {after[:12]} already"
    return f"{'no agent' if before == '-' else before[:12]} → {after[:12]}"


def _duration(seconds: float) -> str:
    """The two largest units: `3d 4h`, `5m 2s`."""
    left = int(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])
