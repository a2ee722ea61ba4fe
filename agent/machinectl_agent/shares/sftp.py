"""The exporting end of a share by sshfs: an sshd for this one share, started by systemd for each connection.

    socket unit, a port of its own ─► sshd -i ─► internal-sftp, shut in /run/machinectl-shares/NAME, where the folder
                                                 is bound as `data` in this connection's mount namespace

It takes nothing but the keys of the machines that have the share, each from that machine's address only, and gives
nothing but sftp below that folder. The host's own sshd, its configuration and root's authorized_keys have no part in
it: a key of a share opens no shell, no forwarding and no other folder. It works as root, as the owners of a volume's
files are containers' users.
"""

from __future__ import annotations

import socket
from typing import Tuple

from machinectl_agent.facts import Facts
from machinectl_agent.host import Host
from machinectl_agent.problems import Problem
from machinectl_agent.shares.checks import ensure_program
from machinectl_agent.shares.naming import home, jail, serving_unit, socket_unit
from machinectl_agent.shares.record import Record
from machinectl_agent.templates import render

PORTS: Tuple[int, ...] = tuple(range(2201, 2300))
UNITS = "/etc/systemd/system"


def render_authorized(record: Record) -> str:
    """Pure: authorized_keys(5)."""
    lines = [
        f'restrict,from="{one.address}",command="internal-sftp" {one.key} {name}'
        for name, one in sorted(record.clients.items())
    ]
    return "".join(f"{line}\n" for line in lines)


def free_port(host: Host) -> int:
    """Raises `Problem` where all are taken."""
    for port in PORTS:
        with socket.socket(socket.AF_INET) as one:
            try:
                one.bind(("", port))
            except OSError:
                continue
        if not _promised(host, port):
            return port
    raise Problem("share-port", f"no port from {PORTS[0]} to {PORTS[-1]} is free for a share")


def serve(host: Host, facts: Facts, record: Record) -> str:
    """The host key that clients must see, as `ssh-ed25519 AAAA…`. Raises `Problem`."""
    sshd = ensure_program(host, facts, "sshd", "sshd")
    place = home(record.name)
    host.make_folder(place, 0o700)
    key = f"{place}/host_key"
    if not host.exists(key):
        host.must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", record.name, "-f", key)
    config = f"{place}/sshd_config"
    values = {"name": record.name, "home": place, "jail": jail(record.name)}
    host.write(config, render("machinectl-share-sshd.conf", **values))
    host.write(f"{place}/authorized_keys", render_authorized(record), 0o600)
    host.must("mkdir", "-p", "/run/sshd")
    host.must(sshd, "-t", "-f", config, hint="this sshd does not take the share's configuration")
    listening = render("machinectl-share.socket", name=record.name, port=record.port)
    serving = render("machinectl-share@.service", sshd=sshd, config=config, folder=record.folder, **values)
    same = host.read(f"{UNITS}/{socket_unit(record.name)}") == listening
    host.write(f"{UNITS}/{socket_unit(record.name)}", listening)
    host.write(f"{UNITS}/{serving_unit(record.name)}", serving)
    host.must("systemctl", "daemon-reload", deadline=60)
    host.must("systemctl", "enable", "-q", socket_unit(record.name))
    host.must("systemctl", "start" if same else "restart", socket_unit(record.name))
    return " ".join((host.read(f"{key}.pub") or "").split()[:2])


def cut_off(host: Host, name: str) -> None:
    """Ends connections; clients that are still allowed come again by themselves."""
    host.must("systemctl", "stop", serving_unit(name).replace("@", "@*"), deadline=60)


def stop_serving(host: Host, name: str) -> None:
    if host.exists(f"{UNITS}/{socket_unit(name)}"):
        host.must("systemctl", "disable", "-q", "--now", socket_unit(name), deadline=60)
        cut_off(host, name)
        host.remove(f"{UNITS}/{socket_unit(name)}")
        host.remove(f"{UNITS}/{serving_unit(name)}")
        host.must("systemctl", "daemon-reload", deadline=60)


def _promised(host: Host, port: int) -> bool:
    """A share whose socket is not up at the moment has it."""
    units = [one for one in host.names(UNITS, ".socket") if one.startswith("machinectl-share-")]
    return any(f"ListenStream={port}\n" in (host.read(f"{UNITS}/{one}") or "") for one in units)
