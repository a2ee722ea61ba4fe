"""openSUSE and SLES: zypper."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Collection, List, Mapping, Sequence, Tuple

from machinectl_agent.facts import Facts
from machinectl_agent.host import Completed, Host
from machinectl_agent.phases.base import Step, Work
from machinectl_agent.problems import Problem
from machinectl_agent.provisioners import package_files, rpm
from machinectl_agent.provisioners.base import Installed
from machinectl_agent.provisioners.check import check_adoptable, check_foreign
from machinectl_agent.provisioners.engine_version import matches, newest, order_key, resolve
from machinectl_agent.provisioners.installed import find_engine
from machinectl_agent.spec import EngineSpec

ENGINE = "docker"
"""The distribution's package; Docker itself has none for openSUSE."""
INSTALL_DEADLINE = 600.0
FOLLOWED = (100, 102, 103, 106)
"""zypper(8)'s exit statuses of success with a remark: updates or a reboot needed, a repository skipped."""


@dataclass(frozen=True)
class Seen:
    installed: Installed
    versions: Mapping[str, str] = field(default_factory=dict)
    offered: Tuple[str, ...] = ()
    """In zypper's cache; only for an upgrade."""
    locked: bool = False
    """Our lock is there (zypper's way to keep a version)."""
    recorded: Mapping[str, package_files.Recorded] = field(default_factory=dict)


class Suse:
    """Written from zypper(8); not run on a real host yet."""

    name = "suse"
    ids: Tuple[str, ...] = (
        "suse",
        "opensuse",
        "opensuse-leap",
        "opensuse-tumbleweed",
        "sles",
        "sled",
        "sle-micro",
    )

    def observe(self, host: Host, facts: Facts, engine: EngineSpec) -> Seen:
        recorded = package_files.read_record(host)
        versions = rpm.installed(host, ENGINE, "docker-ce", *package_files.names(engine.packages, recorded))
        return Seen(
            installed=find_engine(host, versions, (ENGINE, "docker-ce")),
            versions=versions,
            locked=host.exists(LOCKED),
            offered=tuple(_offered(host)) if engine.upgrade else (),
            recorded=recorded,
        )

    def plan(self, seen: Seen, facts: Facts, engine: EngineSpec) -> List[Step]:
        if engine.adopt:
            check_adoptable(seen.installed)
            return []
        if engine.mirror:
            raise Problem(
                "mirror-unsupported",
                "there are no packages of Docker's own for this distribution",
                why="download.docker.com and its mirrors have none for SUSE",
                hint="leave --engine-mirror out: the distribution's package `docker` is installed then",
            )
        if engine.packages:
            state = package_files.State(seen.installed, seen.versions, seen.recorded)
            return package_files.plan(engine.packages, ".rpm", facts.arch, state, rpm.install_uploaded)
        if seen.installed.dockerd and not seen.installed.package:
            check_foreign(seen.installed, engine)
            return []
        steps: List[Step] = []
        if seen.locked and not engine.version:
            steps.append(Step("packages/unpin", f"- unlock {ENGINE}", unlock))
        current = seen.versions.get(seen.installed.package, "")
        pinned = bool(engine.version and current and matches(engine.version, current))
        better = _better(current, seen.offered, engine) if engine.upgrade else ""
        if not seen.installed.dockerd or (engine.version and not pinned):
            title = f"~ change {ENGINE} {current} to" if current else f"+ install {ENGINE}"
            title += f" {engine.version or '(the version is known after the repositories are refreshed)'}"
            steps.append(Step("packages/install", title, lambda work: _install(work, engine.version)))
        elif better:
            title = f"~ upgrade {ENGINE} {current} to {better}"
            steps.append(Step("packages/install", title, lambda work: _install(work, better)))
            pinned = False  # the lock goes for the upgrade and comes back after it
        if engine.version and not (seen.locked and pinned):
            steps.append(Step("packages/pin", f"+ lock {ENGINE} in its version", lock))
        return steps

    def refresh(self, host: Host, log: Callable[[str], None]) -> None:
        log("refreshing the repositories")
        zypper(host, "refresh")

    def install(self, host: Host, *packages: str) -> None:
        zypper(host, "install", *packages)

    def present(self, host: Host, names: Sequence[str]) -> Collection[str]:
        return rpm.installed(host, *names)

    def remove(self, host: Host, name: str) -> bool:
        return rpm.remove_single(host, name)


LOCKED = "/var/lib/machinectl/zypper-lock"
"""Says that the lock is ours and may be removed again."""


def lock(work: Work) -> None:
    zypper(work.host, "addlock", ENGINE)
    work.host.write(LOCKED, ENGINE + "\n")


def unlock(work: Work) -> None:
    zypper(work.host, "removelock", ENGINE)
    work.host.remove(LOCKED)


def _install(work: Work, version: str) -> None:
    if work.host.exists(LOCKED):
        unlock(work)
    word = ENGINE
    if version:
        zypper(work.host, "refresh")
        word = f"{ENGINE}={resolve(version, ENGINE, _offered(work.host))}"
    zypper(work.host, "install", "--oldpackage", word)


def _offered(host: Host) -> List[str]:
    words = ("zypper", "-n", "search", "-s", "--match-exact", ENGINE)
    return parse_search(host.run(*words, deadline=120).stdout)


def _better(current: str, offered: Sequence[str], engine: EngineSpec) -> str:
    """The newest that fits the pin, where it is newer than what is there; else empty."""
    best = newest([one for one in offered if not engine.version or matches(engine.version, one)]) or ""
    return best if current and best and order_key(best) > order_key(current) else ""


def parse_search(text: str) -> List[str]:
    """Versions in the table of `zypper search -s`: `S | Name | Type | Version | Arch | Repository`."""
    rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]
    return [row[3] for row in rows if len(row) >= 6 and row[2] == "package"]


def zypper(host: Host, *words: str) -> None:
    """Raises `Problem` `packages-failed`."""
    done: Completed = host.run("zypper", "--non-interactive", *words, deadline=INSTALL_DEADLINE)
    if not done.ok and done.status not in FOLLOWED:
        raise Problem(
            "packages-failed",
            f"zypper could not {words[0]} {words[-1]} (exit {done.status})",
            why=done.tail(5),
            hint="check the host's network and `zypper repos`, then run the same command again",
        )
