"""Whether this host can become a member, asked before anything on it changes: VTEP, VXLAN, etcd, its name."""

from __future__ import annotations

import contextlib
import os
from typing import Iterator, Optional

from machinectl_agent.host import Host
from machinectl_agent.kv.gateway import Gateway
from machinectl_agent.kv.interface import KvError
from machinectl_agent.kv.tls import Tls
from machinectl_agent.network.paths import PREFIX
from machinectl_agent.network.records import Layout, MachineRecord, decode
from machinectl_agent.network.underlay import is_here, link_address
from machinectl_agent.problems import Problem
from machinectl_agent.spec import NetworkSpec

DEADLINE = 10.0
"""Seconds for etcd's answer, over all endpoints."""


def check(host: Host, name: str, wanted: NetworkSpec) -> None:
    """Reads only. Raises `Problem` with what stands in the way."""
    check_vtep(wanted.vtep)
    check_vxlan(host)
    check_etcd(name, wanted)


def check_vtep(vtep: str) -> None:
    """An address of this host, or one of its interfaces; empty is decided later."""
    if vtep and not (is_here(vtep) or link_address(vtep)):
        raise Problem(
            "vtep-not-here",
            f"--advertise {vtep}: this host has neither such an address nor an interface with one",
            hint="`ip -brief address` on the host shows what it has",
        )


def check_vxlan(host: Host) -> None:
    """Where the kernel does not show it yet, it is tried in a network namespace that ends with the command."""
    if host.exists("/sys/module/vxlan"):
        return
    words = ("unshare", "--net", "ip", "link", "add", "probe", "type", "vxlan", "id", "1", "dstport", "4789")
    tried = host.run(*words, deadline=20)
    if not tried.ok:
        raise Problem(
            "no-vxlan",
            "this host's kernel has no VXLAN, which carries the networks between machines",
            why=tried.tail(2),
            hint="install the kernel's modules (`modprobe vxlan` must succeed), or use another kernel",
        )


def check_etcd(name: str, wanted: NetworkSpec) -> None:
    """It answers us, and nobody else is called that."""
    layout = Layout(wanted.prefix or PREFIX)
    try:
        with _client(wanted) as kv:
            holder = kv.get(layout.machine_name(name), deadline=DEADLINE)
            owner = holder.value.decode() if holder else wanted.id
            record = None if owner == wanted.id else kv.get(layout.machine(owner), deadline=DEADLINE)
    except (KvError, ValueError) as error:
        raise Problem(
            "etcd-unreachable",
            "etcd does not answer this host",
            why=str(error),
            hint="`machinectl etcd status`; is TCP port 2379 open between the machines?",
        ) from error
    if record:
        raise Problem(
            "name-taken",
            f"another machine has joined as {name}",
            why=f"it has the address {decode(MachineRecord, record.value).vtep or 'unknown'}, and another id",
            hint=f"`machinectl network forget {name}` where it does not come back, else choose another name",
        )


@contextlib.contextmanager
def _client(wanted: NetworkSpec) -> Iterator[Gateway]:
    """The ssl module takes certificates from files only: they are in memory, so that a plan leaves nothing behind."""
    handles = []

    def held(text: str) -> str:
        handle = os.memfd_create("machinectl-network", os.MFD_CLOEXEC)
        handles.append(handle)
        os.write(handle, text.encode())
        return f"/proc/self/fd/{handle}"

    try:
        tls: Optional[Tls] = None
        if wanted.ca:
            tls = Tls(held(wanted.ca), held(wanted.cert), held(wanted.key))
        yield Gateway(wanted.endpoints, tls=tls)
    finally:
        for handle in handles:
            os.close(handle)
