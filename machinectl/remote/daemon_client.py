"""One question to a daemon of ours on a host: over SSH to its root-only socket, by `dial-stdio`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, Literal

from machinectl.errors import AgentFailed
from machinectl.remote.bootstrap import ROOT
from machinectl.remote.connection import Connection
from machinectl_agent import wire

DEADLINE = 15.0
"""Seconds for an answer; the daemon itself takes a millisecond."""

Daemon = Literal["agent", "network"]
"""machinectl-agent.service or machinectl-network.service."""

_ABSENT = "machinectl-no-agent"


def ask_daemon(
    connection: Connection,
    verb: str,
    args: Mapping[str, Any] | None = None,
    *,
    daemon: Daemon = "agent",
    deadline: float = DEADLINE,
    root: str = ROOT,
) -> dict[str, Any]:
    """The result for `verb`: the agent's (status, events, ping) or the network service's (network/desk.py).

    Raises `AgentFailed` with the problems `agent-missing` (never bootstrapped), `daemon-not-running` or
    `network-not-running`, `wire-version` (the daemon is of another version), or the daemon's own; and what
    `Connection.run` raises.
    """
    request = wire.encode(wire.request(verb, args or {}))
    done = connection.run(render_dial(root, daemon), stdin=request, deadline=deadline)
    try:
        return read_answer(done.stdout, done.stderr.decode(errors="replace"), done.status, connection.machine)
    except AgentFailed as error:
        error.machine = connection.machine
        raise


def render_dial(root: str, daemon: Daemon = "agent") -> str:
    """Pure: becomes `current dial-stdio` with the Python that is known to work there."""
    script = "\n".join(
        (
            f"tree={shlex.quote(root)}/current",
            f'[ -f "$tree/interpreter" ] || {{ echo {_ABSENT}; exit 127; }}',
            'read -r python < "$tree/interpreter"',
            'exec "$python" -I "$tree" dial-stdio' + (" network" if daemon == "network" else ""),
        )
    )
    return f"exec sh -c {shlex.quote(script)}"


def read_answer(stdout: bytes, stderr: str, status: int, machine: str) -> dict[str, Any]:
    """Pure: what came back → the result. Lines before the daemon's are the login's own."""
    upgrade = f"`machinectl agent upgrade {machine}`"
    lines = stdout.splitlines()
    if any(line.strip() == _ABSENT.encode() for line in lines):
        raise AgentFailed(
            "there is no agent on this host", hint=f"{upgrade} installs it", problem="agent-missing"
        )
    messages = list(_messages(lines))
    hello = next((one for one in messages if one.get("event") == "hello"), None)
    if hello and hello.get("wire") != wire.WIRE:
        raise AgentFailed(
            "the agent on this host is of another version",
            why=f"it speaks wire version {hello.get('wire')}, this controller {wire.WIRE}",
            hint=f"{upgrade} replaces it by this controller's",
            problem="wire-version",
        )
    last = messages[-1] if messages else {}
    if last.get("event") == "error":
        raise AgentFailed(
            str(last.get("what", "")),
            why=str(last.get("why", "")),
            hint=str(last.get("hint", "")).replace("NAME", machine),
            problem=str(last.get("problem", "")),
        )
    if last.get("event") != "done" or not isinstance(last.get("result"), dict):
        raise AgentFailed(
            "the agent's daemon did not answer",
            why=f"exit status {status}; {stderr.strip()[-300:] or str(last)[:200]}",
            hint=f"`machinectl agent logs {machine}`, {upgrade}",
        )
    return dict(last["result"])


def _messages(lines: list[bytes]) -> list[wire.Message]:
    found = []
    for line in lines:
        try:
            found.append(wire.decode(line))
        except (wire.WireError, RecursionError):
            continue
    return found
