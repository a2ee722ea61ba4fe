"""network doctor: every member looks at itself and its way to the others; here the findings are put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from machinectl.actions.converge import connect
from machinectl.actions.fleet import Outcome, on_each
from machinectl.actions.network.ask import no_member
from machinectl.actions.network.membership import members
from machinectl.actions.report import Report
from machinectl.remote.become import Become
from machinectl.remote.daemon_client import ask_daemon
from machinectl.store.store import Store

DEADLINE = 120.0
"""Seconds: paths to many peers are tried."""


def examine(
    store: Store, network: str = "", *, fix: bool = False, machines: Sequence[str] = (), become: Become
) -> list[Outcome[list[dict[str, Any]]]]:
    """Every member's findings: subject, what, why, hint, fixed. `network`: that one only."""
    names = list(machines) or members(store)
    for name in names:
        store.load(name)
    if not names:
        raise no_member()

    def one(name: str) -> list[dict[str, Any]]:
        with connect(store, store.load(name), become, Report(name, quiet=True)) as connection:
            args = {"name": network, "fix": fix}
            answer = ask_daemon(connection, "doctor", args, daemon="network", deadline=DEADLINE)
        return list(answer["findings"])

    return on_each(names, one)


def render_findings(machine: str, findings: Sequence[dict[str, Any]]) -> str:
    """Pure: what, why and what to do, a block for each; empty where all is well."""
    lines = []
    for one in findings:
        subject = f"{one['subject']}: " if one.get("subject") else ""
        lines.append(f"{machine}: {subject}{one['what']}" + (" (put right)" if one.get("fixed") else ""))
        lines.extend(
            f"  {word}: {one[key]}" for word, key in (("why", "why"), ("try", "hint")) if one.get(key)
        )
    return "".join(f"{line}\n" for line in lines)
