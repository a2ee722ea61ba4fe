"""Run as a program: does one thing with a data plane and is killed before the Nth step that changes the kernel.

    dataplane_killed.py HOST FOLDER STEP VERB NETWORK VTEP

Exit status 0: it was done before that many steps.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from machinectl_agent.network.drivers.interface import Wiring
from machinectl_agent.network.drivers.vxlan import Vxlan
from machinectl_agent.network.netlink import namespaces
from machinectl_agent.network.netlink.sockets import Netlink

ENDPOINT = "5e" * 32
MAC = "02:42:0a:32:00:09"


def counted(call: Callable[..., Any], left: list[int]) -> Callable[..., Any]:
    def counting(*arguments: Any, **more: Any) -> Any:
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return call(*arguments, **more)

    return counting


def main() -> None:
    host, folder, step, verb, network, vtep = sys.argv[1:]
    plane = namespaces.inside(host, lambda: Vxlan(4789, folder))
    wiring = Wiring(network, 7001, 1450, ("10.50.0.0/16", "fd00:50::/64"), vtep)
    if verb != "ensure":
        plane.ensure_network(wiring)
    if verb == "detach":
        plane.attach(network, ENDPOINT, MAC)
    left = [int(step)]
    # each request, and each step of making a namespace
    Netlink.run = counted(Netlink.run, left)  # type: ignore[method-assign]
    for name in ("_mount", "_share", "_bind_new"):
        setattr(namespaces, name, counted(getattr(namespaces, name), left))
    if verb == "ensure":
        plane.ensure_network(wiring)
    elif verb == "attach":
        plane.attach(network, ENDPOINT, MAC)
    elif verb == "detach":
        plane.detach(network, ENDPOINT)
    else:
        plane.remove_network(network)


if __name__ == "__main__":
    main()
