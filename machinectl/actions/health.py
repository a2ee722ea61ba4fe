"""Whether an engine came through a restart: it answers, and what ran before runs again."""

from __future__ import annotations

import time

from machinectl.errors import EngineUnreachable, MachinectlError
from machinectl.model import Machine
from machinectl.remote.engine_client import engine_call
from machinectl.store.store import Store

WELL_DEADLINE = 60.0
"""Seconds for containers to be up again."""

ASK_DEADLINE = 10.0

PAUSE = 0.2


def running_containers(store: Store, machine: Machine) -> dict[str, str]:
    """Id → name of every container that runs. Raises `EngineUnreachable`."""
    found = engine_call(
        machine.ip,
        machine.engine_port,
        store.folder(machine.name),
        "GET",
        "/containers/json",
        deadline=ASK_DEADLINE,
    )
    return {one["Id"]: str((one.get("Names") or [one["Id"][:12]])[0]).lstrip("/") for one in found or ()}


def wait_well(
    store: Store, machine: Machine, before: dict[str, str], *, deadline: float = WELL_DEADLINE
) -> None:
    """Returns when all of `before` run. Raises `MachinectlError` with the names of those that don't."""
    end = time.monotonic() + deadline
    while True:
        try:
            now = running_containers(store, machine)
            lost = sorted(name for one, name in before.items() if one not in now)
            if not lost:
                return
            why = f"these containers ran before and don't now: {', '.join(lost)}"
        except EngineUnreachable as error:
            why = f"{error.what}: {error.why}"
        if time.monotonic() > end:
            raise MachinectlError(
                "it is not well after its engine's restart",
                why=why,
                hint=f"look at `machinectl ssh {machine.name} -- journalctl -u docker -n 50`",
                machine=machine.name,
                problem="not-well",
            )
        time.sleep(PAUSE)
