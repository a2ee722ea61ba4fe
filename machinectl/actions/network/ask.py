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
    RemoteFailed,
)
from machinectl.remote.become import Become
from machinectl.remote.connection import Connection
from machinectl.remote.daemon_client import ask_daemon
from machinectl.store.store import Store

DEADLINE = 60.0
"""Seconds: `create` and `remove` wait for etcd and for Docker on the machine that is asked."""

ELSEWHERE = ("network-not-running", "agent-missing", "etcd-away", "too-many-clients", "no-such-verb")
"""Problems of one member, after which nothing has been done: another one may do better."""

READS = ("networks", "network", "machines", "lookup", "status")
"""Verbs that change nothing, so that silence of one member is no reason not to ask another."""

Result = TypeVar("Result")


class Member:
    """A member's network service, over a connection that is open."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.wrote = False
        """It was asked for a change."""

    def ask(self, verb: str, args: Mapping[str, Any]) -> dict[str, Any]:
        """Raises `AgentFailed` with the service's own problem, and what `Connection.run` raises."""
        self.wrote = self.wrote or verb not in READS
        return ask_daemon(self._connection, verb, args, daemon="network", deadline=DEADLINE)


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
        asked: list[Member] = []
        try:
            with connect(store, store.load(name), become, Report(name, quiet=True)) as connection:
                asked.append(Member(connection))
                return work(asked[0])
        except HostKeyChanged:
            raise
        except (ConnectionFailed, RemoteFailed, AgentFailed) as error:
            silent = not isinstance(error, AgentFailed) or error.problem == "agent-failed"
            wrote = any(member.wrote for member in asked)
            if error.problem not in ELSEWHERE and (wrote or not silent):
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
