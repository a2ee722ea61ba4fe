"""Phase `etcd-install`: the programs, and never the package's own service beside ours.

Debian's package starts a server in the clear on localhost as soon as it is installed: its unit is masked before.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import List

from machinectl_agent.etcd.spec import EtcdSpec
from machinectl_agent.facts import Facts
from machinectl_agent.host import Host
from machinectl_agent.phases.base import Context, Step, Work
from machinectl_agent.problems import Problem
from machinectl_agent.provisioners.apt import Apt
from machinectl_agent.provisioners.choose import choose

OWN_UNITS = ("etcd.service", "etcd2.service")
PACKAGES = {"debian": ("etcd-server", "etcd-client"), "": ("etcd",)}
"""Package names by the provisioner's family; the others call it etcd."""


@dataclass(frozen=True)
class Seen:
    version: str
    """Of the etcd that would be started; empty: there is none."""
    masked: bool
    newer: str = ""
    """A version that the package sources offer, where an upgrade is asked for and there is one."""


class InstallPhase:
    name = "etcd-install"

    def __init__(self, spec: EtcdSpec, facts: Facts) -> None:
        self._spec = spec
        self._facts = facts

    def observe(self, host: Host, context: Context) -> Seen:
        newer = ""
        if self._spec.upgrade and self._spec.packages and host.which("apt-get"):
            apt = Apt(host)
            apt.update_if_stale()
            candidate = apt.candidates("etcd-server").get("etcd-server", "")
            present = apt.packages("etcd-server").get("etcd-server")
            newer = candidate if present and candidate and candidate != present.version else ""
        masked = all(_is_masked(host, unit) for unit in OWN_UNITS)
        return Seen(version(host), masked, newer)

    def plan(self, seen: Seen, context: Context) -> List[Step]:
        if self._spec.absent:
            return []
        steps = []
        if self._spec.packages and not seen.masked:
            steps.append(Step(f"{self.name}/mask", f"+ mask the package's own {OWN_UNITS[0]}", _mask))
        if not seen.version and not self._spec.packages:
            raise Problem(
                "etcd-missing",
                "there is no etcd on this host",
                why="the cluster was deployed with given programs, and /usr/local/bin/etcd is not there",
                hint="copy etcd and etcdctl to /usr/local/bin on the host, or deploy without --no-packages",
            )
        if not seen.version:
            steps.append(Step(f"{self.name}/install", "+ install etcd", self._install))
        elif seen.newer:
            title = f"~ upgrade etcd {seen.version} to {seen.newer}"
            steps.append(Step(f"{self.name}/upgrade", title, self._install))
        return steps

    def _install(self, work: Work) -> None:
        provisioner = choose(self._facts, "")
        provisioner.install(work.host, *PACKAGES.get(_family(work.host), PACKAGES[""]))


def version(host: Host) -> str:
    """`3.4.23`, or empty."""
    if not host.which("etcd"):
        return ""
    found = re.search(r"etcd Version: (\S+)", host.run("etcd", "--version", deadline=20).stdout)
    return found[1] if found else ""


def _family(host: Host) -> str:
    return "debian" if host.which("apt-get") else ""


def _is_masked(host: Host, unit: str) -> bool:
    link = host.path(f"/etc/systemd/system/{unit}")
    return link.is_symlink() and str(link.readlink()) == "/dev/null"


def _mask(work: Work) -> None:
    for unit in OWN_UNITS:
        work.host.run("systemctl", "disable", "--now", unit, deadline=60)
        work.host.remove(f"/etc/systemd/system/{unit}")
        work.host.must("systemctl", "mask", unit, deadline=60)
