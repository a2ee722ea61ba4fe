"""Phase `etcd-install`: the programs, and never the package's own service beside ours.

Debian's package starts a server in the clear on localhost as soon as it is installed: its unit is masked before.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Dict, List

from machinectl_agent.etcd import programs
from machinectl_agent.etcd.spec import EtcdSpec
from machinectl_agent.etcd.unit import program_of
from machinectl_agent.facts import Facts
from machinectl_agent.host import Host
from machinectl_agent.phases.base import Context, Step, Work
from machinectl_agent.problems import Problem
from machinectl_agent.provisioners.apt import Apt
from machinectl_agent.provisioners.choose import choose

PACKAGE_UNITS = ("etcd.service", "etcd2.service")
PACKAGES = {"debian": ("etcd-server", "etcd-client"), "": ("etcd",)}
"""Package names by the provisioner's family; the others call it etcd."""


@dataclass(frozen=True)
class Seen:
    version: str
    """Of the wanted programs; empty: they are not there, or not all of them."""
    before: str
    """Version of the etcd that our unit starts now; empty: there is none."""
    masked: bool
    foreign: str = ""
    """A unit of somebody else's etcd that runs here."""
    newer: str = ""
    """A version that the package sources offer, where an upgrade is asked for and there is one."""


class InstallPhase:
    name = "etcd-install"

    def __init__(self, spec: EtcdSpec, facts: Facts) -> None:
        self._spec = spec
        self._facts = facts

    def observe(self, host: Host, context: Context) -> Seen:
        spec = self._spec
        if spec.absent:
            return Seen("", "", masked=True)
        folder = programs.folder(host, spec.binaries)
        complete = all(host.exists(f"{folder}/{name}") for name in (*spec.binaries, "etcd", "etcdctl"))
        masked = all(_is_masked(host, unit) for unit in PACKAGE_UNITS)
        return Seen(
            version=programs.version(host, f"{folder}/etcd") if complete else "",
            before=programs.version(host, program_of(host)),
            masked=masked,
            foreign="" if masked else next((one for one in PACKAGE_UNITS if _runs(host, one)), ""),
            newer=_newer(host) if spec.upgrade and not spec.binaries else "",
        )

    def plan(self, seen: Seen, context: Context) -> List[Step]:
        spec, steps = self._spec, []
        if spec.absent:
            return []
        if seen.foreign:
            raise Problem(
                "etcd-foreign",
                f"another etcd runs on this host ({seen.foreign})",
                why="it may be somebody's, and two can't have the same ports",
                hint="`machinectl etcd use` uses an etcd that is there; or end it on the host: "
                f"`systemctl disable --now {seen.foreign}`",
            )
        wanted = seen.newer or seen.version
        if seen.before and wanted:
            programs.check_move(seen.before, wanted)
        if not spec.binaries and not seen.masked:
            steps.append(Step(f"{self.name}/mask", f"+ mask the package's own {PACKAGE_UNITS[0]}", _mask))
        if not seen.version and spec.binaries:
            title = f"+ put {', '.join(sorted(spec.binaries))} into {programs.GIVEN}"
            steps.append(Step(f"{self.name}/upload", title, self._upload))
        elif not seen.version:
            steps.append(Step(f"{self.name}/install", "+ install etcd", self._install))
        elif seen.newer:
            title = f"~ upgrade etcd {seen.version} to {seen.newer}"
            steps.append(Step(f"{self.name}/upgrade", title, self._install))
        return steps

    def _install(self, work: Work) -> None:
        family = "debian" if work.host.which("apt-get") else ""
        choose(self._facts, "").install(work.host, *PACKAGES.get(family, PACKAGES[""]))

    def _upload(self, work: Work) -> None:
        """Asks for what is not there yet; nothing of it is started before it has said its version."""
        host, folder = work.host, programs.folder(work.host, self._spec.binaries)
        files: List[Dict[str, Any]] = [
            {"name": name, "sha256": digest, "path": f"{folder}/{name}"}
            for name, digest in sorted(self._spec.binaries.items())
            if _digest(host, f"{folder}/{name}") != digest
        ]
        if files:
            work.need(files)
        for name, digest in self._spec.binaries.items():
            if _digest(host, f"{folder}/{name}") != digest:
                raise Problem(
                    "file-differs", f"{folder}/{name} is not what was sent", hint="run the same command again"
                )
            host.path(f"{folder}/{name}").chmod(0o755)
        # other users of the host don't get in below a folder of root's otherwise: etcd is one of them
        host.path(folder).chmod(0o755)
        host.path(programs.GIVEN).chmod(0o755)
        programs.check_move(
            programs.version(host, program_of(host)), programs.version(host, f"{folder}/etcd")
        )


def refresh(work: Work) -> None:
    """The package lists, before an upgrade is planned from them."""
    if work.host.which("apt-get"):
        Apt(work.host, work.log).update_if_stale(3600.0)


def _newer(host: Host) -> str:
    if not host.which("apt-get"):
        return (
            ""  # other families' own tools upgrade it; a deploy restarts a member whose program was replaced
        )
    apt = Apt(host)
    candidate = apt.candidates("etcd-server").get("etcd-server", "")
    present = apt.packages("etcd-server").get("etcd-server")
    return candidate if present and candidate and candidate != present.version else ""


def _digest(host: Host, name: str) -> str:
    try:
        return hashlib.sha256(host.path(name).read_bytes()).hexdigest()
    except OSError:
        return ""


def _runs(host: Host, unit: str) -> bool:
    return host.run("systemctl", "is-active", unit, deadline=20).stdout.strip() == "active"


def _is_masked(host: Host, unit: str) -> bool:
    link = host.path(f"/etc/systemd/system/{unit}")
    return link.is_symlink() and str(link.readlink()) == "/dev/null"


def _mask(work: Work) -> None:
    for unit in PACKAGE_UNITS:
        work.host.run("systemctl", "disable", unit, deadline=60)
        work.host.remove(f"/etc/systemd/system/{unit}")
        work.host.must("systemctl", "mask", unit, deadline=60)
