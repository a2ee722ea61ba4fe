"""start, stop, kill: the engine of a machine. restart: the whole host, and until its engine answers again."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from machinectl.actions.converge import connect, whoami
from machinectl.actions.fleet import Outcome, on_each
from machinectl.actions.report import Report
from machinectl.errors import (
    CONNECTION_BROKEN,
    AgentFailed,
    ConnectionFailed,
    EngineUnreachable,
    HostKeyChanged,
    MachinectlError,
    RemoteFailed,
)
from machinectl.model import Machine
from machinectl.remote.agent_client import run_agent
from machinectl.remote.become import Become
from machinectl.remote.bundle import build_bundle
from machinectl.remote.connection import Connection, open_connection
from machinectl.remote.engine_client import engine_version
from machinectl.store.store import Store
from machinectl_agent import wire

POWER_DEADLINE = 480.0
"""Seconds: dockerd's start or stop, and 300 s for another run on the machine to end."""

VERIFY_DEADLINE = 20.0
"""Seconds for dockerd's first answer over TLS."""

REBOOT_DEADLINE = 300.0
"""Seconds from the order to the engine's answer, unless the user says otherwise; servers count their memory."""

DOUBT = 60.0
"""Seconds that a host which answers as before is given to go down, where the order may not have reached it."""

PAUSE = 0.5
"""Seconds between two looks at a host that is rebooting."""

_BOOT = "cat /proc/sys/kernel/random/boot_id && cut -d')' -f2- /proc/1/stat"
"""Boot id and process 1's start time: together they tell boots apart in containers, too."""


@dataclass(frozen=True)
class Power:
    """What the agent found and did."""

    was_running: bool
    containers: int
    """Running afterwards; for a stop or kill with `containers`: ended."""


def power(
    store: Store,
    names: Sequence[str],
    action: str,
    *,
    become: Become,
    quiet: bool = False,
    containers: bool = False,
) -> list[Outcome[Power]]:
    """`start`, `stop` or `kill`, in parallel over machines. `containers`: a stop or kill ends them, too."""
    for name in names:
        store.load(name)  # an unknown name is an error before anything changes

    def one(name: str) -> Power:
        with store.machine_lock(name):
            machine = store.load(name)
            report = Report(name, quiet=quiet)
            found = _ask(store, machine, action, become, report, {"containers": containers})
            if action == "start":
                folder = store.folder(name)
                engine_version(machine.ip, machine.engine_port, folder, VERIFY_DEADLINE)
        return Power(bool(found["was"]), int(found["containers"]))

    return on_each(names, one)


def restart(
    store: Store,
    names: Sequence[str],
    *,
    become: Become,
    quiet: bool = False,
    deadline: float = REBOOT_DEADLINE,
) -> list[Outcome[float]]:
    """Reboots the hosts, in parallel; the result is how many seconds it took until the engine answered."""
    for name in names:
        store.load(name)

    def one(name: str) -> float:
        with store.machine_lock(name):
            began = time.monotonic()
            machine = store.load(name)
            report = Report(name, quiet=quiet)
            identity, doubt = _order_reboot(store, machine, become, report)
            report.line("waiting for the host to boot")
            until = time.monotonic() + deadline
            _wait_for_boot(store, machine, identity, until, deadline, doubt)
            report.line("waiting for the engine to answer")
            _wait_for_engine(store, machine, until, deadline)
        return time.monotonic() - began

    return on_each(names, one)


def _ask(
    store: Store, machine: Machine, action: str, become: Become, report: Report, args: Mapping[str, Any]
) -> dict[str, Any]:
    request = wire.request("power", {"action": action, "for": whoami(), **args})
    with connect(store, machine, become, report) as connection:
        return run_agent(connection, build_bundle(), request, on_event=report.event, deadline=POWER_DEADLINE)


def _order_reboot(
    store: Store, machine: Machine, become: Become, report: Report
) -> tuple[str, MachinectlError | None]:
    """This boot's identity, once the host is going down; and the error where it is not known whether it is."""
    announced = False

    def on_event(message: Mapping[str, Any]) -> None:
        nonlocal announced
        announced = announced or message.get("event") == "boot"
        report.event(message)

    request = wire.request("power", {"action": "reboot", "for": whoami()})
    lost = (ConnectionFailed, AgentFailed, RemoteFailed)
    with connect(store, machine, become, report) as connection:
        identity = _identity(connection)
        try:
            run_agent(connection, build_bundle(), request, on_event=on_event, deadline=POWER_DEADLINE)
        except lost as error:
            if error.problem not in ("unreachable", CONNECTION_BROKEN, "agent-failed", "remote-failed"):
                raise
            # a host that goes down may take the answer with it: a reset even takes what had come and was not yet read
            return identity, None if announced else error
    return identity, None


def _identity(connection: Connection) -> str:
    return parse_boot(connection.run(_BOOT, deadline=10.0, as_root=False).stdout.decode(errors="replace"))


def _wait_for_boot(
    store: Store, machine: Machine, before: str, until: float, deadline: float, doubt: MachinectlError | None
) -> None:
    trouble: MachinectlError | None = None
    seen = False
    doubted = time.monotonic() + DOUBT
    while time.monotonic() < until:
        try:
            with open_connection(
                machine.ssh,
                machine=machine.name,
                known_hosts=store.known_hosts,
                become=Become(),
                deadline=max(1.0, min(10.0, until - time.monotonic())),
            ) as connection:
                if _identity(connection) != before:
                    return
            seen = True
        except HostKeyChanged:
            raise
        except (ConnectionFailed, RemoteFailed) as error:
            trouble, seen = error, False
        if doubt and seen and time.monotonic() > doubted:
            raise doubt
        time.sleep(PAUSE)
    raise ConnectionFailed(
        "the host did not go down" if seen else "the host did not come back from its reboot",
        why=f"it was given {deadline:g} s" + (f"; last: {trouble.what}" if trouble and not seen else ""),
        hint="look at its console; give a slow host more time with --timeout SECONDS",
        problem="reboot-timeout",
    )


def _wait_for_engine(store: Store, machine: Machine, until: float, deadline: float) -> None:
    while True:
        left = max(1.0, until - time.monotonic())
        try:
            engine_version(machine.ip, machine.engine_port, store.folder(machine.name), min(10.0, left))
        except EngineUnreachable as error:
            if time.monotonic() >= until:
                error.why = f"{error.why}; the host is up, and {deadline:g} s have passed"
                raise
            time.sleep(PAUSE)
        else:
            return


def parse_boot(said: str) -> str:
    """Pure: what `_BOOT` printed → `BOOT_ID 1 START_TICKS`, which differs after every boot."""
    boot, _, stat = said.strip().partition("\n")
    fields = stat.split()
    # field 22 of proc_pid_stat(5); the first two are cut off
    return f"{boot.strip()} 1 {fields[19]}" if len(fields) > 19 else ""
