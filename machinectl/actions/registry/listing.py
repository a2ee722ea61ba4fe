"""registry ls: all that were deployed, and whether they answer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from machinectl.actions.registry.access import opened, url_of
from machinectl.errors import MachinectlError, RegistryFailed
from machinectl.model import Machine
from machinectl.store.registries import Registry, load_registries
from machinectl.store.store import Store

DEADLINE = 3.0
AT_ONCE = 16
_STATES = {"registry-refused": "Stopped", "registry-timeout": "Timeout"}


@dataclass(frozen=True)
class Row:
    """Empty strings: not known."""

    machine: str
    url: str = ""
    state: str = ""
    """As `ls` says it of engines: Running, Stopped, Timeout, Error."""
    registry: Registry | None = None
    error: str = ""


def list_registries(store: Store) -> list[Row]:
    """A machine whose record is damaged has a row with its error."""
    found: list[tuple[Machine, Registry]] = []
    damaged: list[Row] = []
    for name in store.names():
        try:
            found += [(store.load(name), one) for one in load_registries(store, name).values()]
        except MachinectlError as error:
            damaged.append(Row(name, state="Error", error=error.what))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [*pool.map(lambda pair: _row(store, *pair), found), *damaged]


def _row(store: Store, machine: Machine, registry: Registry) -> Row:
    url = url_of(machine, registry)
    if registry.state != "ready":
        why = "undeploy" if registry.state == "leaving" else "deploy"
        return Row(machine.name, url, "Error", registry, f"a {why} was cut off; run it again")
    try:
        with opened(store, machine, registry, deadline=DEADLINE, tunnel=False) as client:
            client.ping()
    except RegistryFailed as error:
        return Row(machine.name, url, _STATES.get(error.problem, "Error"), registry, error.why or error.what)
    return Row(machine.name, url, "Running", registry)
