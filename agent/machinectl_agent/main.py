"""The agent's commands, as the controller calls them: `python3 -I /opt/machinectl/agent/HASH VERB`.

apply      one request on stdin (wire.py), events on stdout; the wanted state is in the request. The daemon is asked
           first, where it runs (see daemon/relay.py): often there is nothing to do
etcd       the same for this machine's etcd member (see etcd/)
survey     the same; what an apply would do
facts      the same, with the host's facts as the result
files      the same; questions about files (see files/ops.py)
images     the same; the engine's images (see images/)
upgrade    the same; only the daemon is brought to this bundle
carry      the same, then one end of a stream on stdin or stdout; events on stderr (see files/carry.py)
shares     the same; one end of a volume that several machines have (see shares/)
power      the same; dockerd is started, stopped or killed, the host rebooted (see power.py)
volumes    the same; questions about volumes, and small changes (see volumes/)
registry   the same; a registry on this machine, its collection, and probes of registries (see registry/)
daemon     the systemd service (see daemon/)
network-daemon  the systemd service of the networks (see network/)
dial-stdio connects stdin and stdout with the daemon's socket, or with `network` with that service's
hold       keeps containers paused or stopped while a volume is copied (see volumes/keeper.py)
end-containers  what machinectl-containers.service does at a shutdown
version    the version and the bundle's hash, for people
"""

from __future__ import annotations

import gc
import sys
from typing import List, Optional


def main(argv: Optional[List[str]] = None) -> int:  # noqa: PLR0911 - one for each verb
    """Exit status: 0 done, 1 failed (an `error` event says why), 2 no such command."""
    verb, *rest = (sys.argv[1:] if argv is None else argv) or [""]
    if verb in (
        "apply",
        "etcd",
        "facts",
        "files",
        "images",
        "power",
        "registry",
        "shares",
        "survey",
        "upgrade",
        "volumes",
    ):
        # a request is over before there is much to collect: 2 ms of an apply that has nothing to do
        gc.set_threshold(50_000)
        from machinectl_agent.session import serve_request  # noqa: PLC0415 - each verb loads what it needs

        return serve_request(verb, *rest)
    if verb == "carry":
        from machinectl_agent.files.carry import serve_carry  # noqa: PLC0415

        return serve_carry()
    if verb == "daemon":
        from machinectl_agent.daemon.server import serve  # noqa: PLC0415

        return serve()
    if verb == "network-daemon":
        from machinectl_agent.network.service import serve as serve_networks  # noqa: PLC0415

        return serve_networks()
    if verb == "dial-stdio":
        from machinectl_agent.daemon.dial import dial_stdio  # noqa: PLC0415
        from machinectl_agent.daemon.settings import NETWORK_SOCKET  # noqa: PLC0415

        return dial_stdio(NETWORK_SOCKET) if rest == ["network"] else dial_stdio()
    if verb == "hold":
        from machinectl_agent.volumes.keeper import keep  # noqa: PLC0415

        return keep()
    if verb == "end-containers":
        from machinectl_agent.engine.end_containers import end_containers  # noqa: PLC0415
        from machinectl_agent.host import Host  # noqa: PLC0415

        print(f"ended {end_containers(Host())} containers")
        return 0
    if verb == "version":
        from machinectl_agent.bundle import own_hash  # noqa: PLC0415
        from machinectl_agent.version import __version__  # noqa: PLC0415

        print(f"machinectl-agent {__version__} {own_hash()}")
        return 0
    print(f"machinectl-agent: no command {verb!r}", file=sys.stderr)
    return 2
