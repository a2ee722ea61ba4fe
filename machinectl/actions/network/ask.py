"""Asking the networks: any member can answer for all, as the state is in etcd. One SSH connection, one round trip."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from machinectl.actions.converge import connect
from machinectl.actions.network.membership import members
from machinectl.actions.report import Report
from machinectl.errors import (
    AgentFailed,
    ConnectionFailed,
    HostKeyChanged,
    MachinectlError,
)
from machinectl.remote.become import Become
from machinectl.remote.daemon_client import ask_daemon
from machinectl.store.store import Store

DEADLINE = 60.0
"""Seconds: `create` and `remove` wait for etcd and for Docker on the machine that is asked."""

ELSEWHERE = ("network-not-running", "agent-missing", "etcd-away", "too-many-clients", "no-such-verb")
"""Problems of one member, after which nothing has been done: another one may do better."""

Result = TypeVar("Result")


class Member:
    """A member's network service, over a connection that is open."""

    def __init__(self, name: str, ask: Callable[[str, Mapping[str, Any]], dict[str, Any]]) -> None:
        self.name = name
        self.ask = ask
        """(verb, args) → result. Raises `AgentFailed` with the service's own problem."""


def with_member(
    store: Store,
    work: Callable[[Member], Result],
    *,
    machine: str = "",
    without: str = "",
    become: Become,
    quiet: bool = False,
) -> Result:
    """`work` with the first member that can be asked, `machine` where one is named, never `without`.

    It is tried again with the next member only where the service of this one has done nothing. Raises the last
    member's error."""
    names = [machine] if machine else [one for one in members(store) if one != without]
    if machine:
        store.load(machine)
    if not names:
        raise no_member(without)
    failed: list[MachinectlError] = []
    for name in names:
        try:
            return _with(store, name, work, become)
        except HostKeyChanged:
            raise
        except (ConnectionFailed, AgentFailed) as error:
            if isinstance(error, AgentFailed) and error.problem not in ELSEWHERE:
                raise
            failed.append(error)
            if name != names[-1]:
                Report(name, quiet=quiet).line(f"{error.what}; asking the next member")
    raise failed[-1]


def ask_member(
    store: Store,
    verb: str,
    args: Mapping[str, Any],
    *,
    machine: str = "",
    become: Become,
    quiet: bool = False,
) -> dict[str, Any]:
    """One question."""
    return with_member(
        store, lambda member: member.ask(verb, args), machine=machine, become=become, quiet=quiet
    )


def no_member(without: str = "") -> MachinectlError:
    """The error for a store that has let no machine join, or no other one."""
    return MachinectlError(
        f"there is no member but {without}" if without else "no machine is a member of the networks",
        hint="`machinectl network join MACHINE…`; `machinectl etcd deploy MACHINE…` before that",
        problem="no-member",
    )


def _with(store: Store, name: str, work: Callable[[Member], Result], become: Become) -> Result:
    with connect(store, store.load(name), become, Report(name, quiet=True)) as connection:

        def ask(verb: str, args: Mapping[str, Any]) -> dict[str, Any]:
            return ask_daemon(connection, verb, args, daemon="network", deadline=DEADLINE)

        return work(Member(name, ask))
