"""Which registry is meant, and the way to it: directly, or through SSH where only that is open."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from machinectl.errors import MachinectlError, RegistryFailed
from machinectl.model import Machine
from machinectl.remote.registry_client import RegistryClient
from machinectl.store.registries import Registry, load_registries
from machinectl.store.store import Store

PROBE = 3.0
"""Seconds for a first answer; a registry that is down refuses at once."""
SSH_DEADLINE = 6.0


def parse_place(text: str) -> tuple[str, int]:
    """`MACHINE` or `MACHINE:PORT`; 0 where no port is named."""
    name, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        return text, 0
    return name, int(port)


def find_registry(store: Store, place: str) -> tuple[Machine, Registry]:
    """Raises `MachinectlError` where the machine has none, or several and none is named."""
    name, port = parse_place(place)
    machine = store.load(name)
    found = load_registries(store, name)
    if not found:
        raise MachinectlError(
            "there is no registry on it", hint=f"`machinectl registry deploy {name}`", machine=name
        )
    if not port and len(found) > 1:
        ports = ", ".join(f"{name}:{one}" for one in found)
        raise MachinectlError("it has several registries", hint=f"name one of {ports}", machine=name)
    registry = found.get(port or next(iter(found)))
    if registry is None:
        ports = ", ".join(f"{name}:{one}" for one in found)
        raise MachinectlError(f"there is no registry on port {port}", hint=f"there is {ports}", machine=name)
    return machine, registry


def address_of(machine: Machine, registry: Registry) -> str:
    """HOST:PORT, as images and daemon.json name it."""
    host = f"[{machine.ip}]" if ":" in machine.ip else machine.ip
    return f"{host}:{registry.port}"


def url_of(machine: Machine, registry: Registry) -> str:
    return f"{'http' if registry.plain else 'https'}://{address_of(machine, registry)}"


@contextlib.contextmanager
def opened(
    store: Store, machine: Machine, registry: Registry, *, deadline: float = 10.0, tunnel: bool = True
) -> Iterator[RegistryClient]:
    """A client with the store's CA, user and password. Errors have the machine's name."""
    with contextlib.ExitStack() as stack:
        connect = None
        if tunnel and not _is_reachable(_client(store, machine, registry, None, PROBE)):
            connect = _tunnel(store, machine, registry.port, stack)
        try:
            yield _client(store, machine, registry, connect, deadline)
        except MachinectlError as error:
            error.machine = error.machine or machine.name
            raise


def _client(
    store: Store, machine: Machine, registry: Registry, connect: tuple[str, int] | None, deadline: float
) -> RegistryClient:
    return RegistryClient(
        url_of(machine, registry),
        connect=connect,
        ca=store.path / "certs/ca.pem",
        user=registry.user,
        password=registry.password,
        deadline=deadline,
    )


def _is_reachable(client: RegistryClient) -> bool:
    """It answers, be it with a no, or its host says at once that nobody listens."""
    try:
        client.ping()
    except RegistryFailed as error:
        return error.problem not in ("registry-timeout", "registry-unreachable")
    return True


def _tunnel(store: Store, machine: Machine, port: int, stack: contextlib.ExitStack) -> tuple[str, int] | None:
    from machinectl.remote.become import Become  # noqa: PLC0415 - all of SSH is only for this case
    from machinectl.remote.connection import open_connection  # noqa: PLC0415
    from machinectl.remote.tunnel import Tunnel  # noqa: PLC0415

    try:
        connection = open_connection(
            machine.ssh,
            machine=machine.name,
            known_hosts=store.known_hosts,
            become=Become("none"),
            deadline=SSH_DEADLINE,
        )
    except MachinectlError:
        return None  # the client's own error says what can't be reached
    tunnel = Tunnel(connection, "127.0.0.1", port)
    stack.callback(tunnel.close)
    return "127.0.0.1", tunnel.port
