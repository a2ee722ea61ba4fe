"""The way to a host: one SSH session, or several, each inside the one before (ProxyJump).

Each hop has its own configuration, user, keys and host key check; a jump host is offered the address's own
key after its own ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from machinectl.errors import MachinectlError
from machinectl.model import SshAddress
from machinectl.remote.deadline import Deadline
from machinectl.remote.hostkeys import KnownHosts
from machinectl.remote.sockets import ProxyProcess, connect_tcp
from machinectl.remote.sshconfig import Settings, plan_hops

if TYPE_CHECKING:
    import fabric


@dataclass
class Hop:
    """One open session of the chain."""

    settings: Settings
    connection: fabric.Connection
    proxy: ProxyProcess | None = None

    def close(self) -> None:
        self.connection.close()
        if self.proxy:
            self.proxy.close()


def open_hops(
    address: SshAddress, known_hosts: Path, deadline: Deadline, *, replace_host_key: bool = False
) -> list[Hop]:
    """Opens the whole chain or nothing. Errors name the jump host that they are about."""
    planned = plan_hops(address, deadline, base=known_hosts.parent)
    extra = planned[-1].identity_files if address.key else ()
    opened: list[Hop] = []
    try:
        for settings in planned:
            is_last = settings is planned[-1]
            label = settings.alias if is_last else f"the jump host {settings.alias}"
            known = KnownHosts(
                settings.known_as, known_hosts, settings.known_hosts, replace=replace_host_key and is_last
            )
            before = opened[-1] if opened else None
            try:
                opened.append(_open_hop(settings, before, known, deadline, () if is_last else extra, label))
            except MachinectlError as error:
                if not is_last and label not in error.what:
                    error.what = f"{label}: {error.what}"
                raise
    except BaseException:
        for hop in reversed(opened):
            hop.close()
        raise
    return opened


def _open_hop(
    settings: Settings,
    before: Hop | None,
    known: KnownHosts,
    deadline: Deadline,
    extra: tuple[Path, ...],
    label: str,
) -> Hop:
    proxy = ProxyProcess(settings.proxy_command) if settings.proxy_command and not before else None
    try:
        sock: Any = proxy.socket if proxy else None
        if before is None and proxy is None:
            sock = connect_tcp(settings.host, settings.port, deadline)
        from machinectl.remote.sessions import open_session, open_socket  # noqa: PLC0415 - see there

        if before:
            sock = open_socket(before.connection, settings, deadline, before.settings.alias)
        connection = open_session(settings, sock, known, deadline, extra, label, proxy)
    except BaseException:
        if proxy:
            proxy.close()
        raise
    return Hop(settings, connection, proxy)
