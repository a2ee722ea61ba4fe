"""Arch Linux and what is built on it: pacman. It has one version of everything, so nothing can be pinned."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Callable, Collection, Dict, List, Mapping, Sequence, Tuple

from machinectl_agent.facts import Facts
from machinectl_agent.host import Host
from machinectl_agent.phases.base import Step
from machinectl_agent.problems import Problem
from machinectl_agent.provisioners import package_files
from machinectl_agent.provisioners.base import Installed
from machinectl_agent.provisioners.check import check_adoptable, check_foreign
from machinectl_agent.provisioners.engine_version import matches
from machinectl_agent.provisioners.installed import find_engine
from machinectl_agent.spec import EngineSpec

ENGINE = "docker"
INSTALL_DEADLINE = 600.0


@dataclass(frozen=True)
class Seen:
    installed: Installed
    versions: Mapping[str, str] = field(default_factory=dict)
    offered: str = ""
    """The version in pacman's last fetched database; empty where it has none."""
    recorded: Mapping[str, package_files.Recorded] = field(default_factory=dict)


class Arch:
    """Written from pacman(8); not run on a real host yet."""

    name = "arch"
    ids: Tuple[str, ...] = ("arch", "archarm", "manjaro", "endeavouros", "garuda", "cachyos")

    def observe(self, host: Host, facts: Facts, engine: EngineSpec) -> Seen:
        versions = parse_query(host.run("pacman", "-Q", ENGINE, deadline=30).stdout)
        installed = find_engine(host, versions, (ENGINE,))
        offered = "" if installed.dockerd else host.run("pacman", "-Si", ENGINE, deadline=30).stdout
        return Seen(installed, versions, parse_offered(offered), package_files.read_record(host))

    def plan(self, seen: Seen, facts: Facts, engine: EngineSpec) -> List[Step]:
        if engine.adopt:
            check_adoptable(seen.installed)
            return []
        if engine.mirror:
            raise Problem(
                "mirror-unsupported",
                "there are no packages of Docker's own for this distribution",
                why="download.docker.com and its mirrors have none for Arch",
                hint="leave --engine-mirror out: the distribution's package `docker` is installed then",
            )
        if engine.packages:
            raise Problem(
                "packages-unsupported",
                "uploaded packages are not supported on this distribution",
                why="Arch installs whole, matching snapshots only",
                hint="install Docker Engine with pacman -U yourself; it is adopted then",
            )
        if seen.installed.dockerd:
            check_foreign(seen.installed, engine)
            return []
        if engine.version and not (seen.offered and matches(engine.version, seen.offered)):
            raise Problem(
                "engine-version-unknown",
                f"pacman does not offer {ENGINE} in version {engine.version}",
                why=f"offered: {seen.offered or '(no package database yet: pacman -Sy)'}",
                hint="leave --engine-version out; Arch has one version at a time",
            )
        version = seen.offered or "(the version is known after the package database is fetched)"
        return [
            Step(
                "packages/install",
                f"+ install {ENGINE} {version}",
                lambda work: self.install(work.host, ENGINE),
            )
        ]

    def refresh(self, host: Host, log: Callable[[str], None]) -> None:
        raise Problem(
            "upgrade-unsupported",
            "this distribution upgrades as a whole only",
            why="a newer engine may need newer libraries than this host has (Arch: partial upgrades)",
            hint="run `pacman -Syu` on the host, then `machinectl restart`",
        )

    def install(self, host: Host, *packages: str) -> None:
        # -y without -u may pull a package that needs newer libraries; Arch supports no other way offline
        # from the user's own full upgrade, which is not ours to start
        if not host.names("/var/lib/pacman/sync", ".db"):
            host.must("pacman", "-Sy", "--noconfirm", deadline=180)
        done = host.run("pacman", "-S", "--noconfirm", "--needed", *packages, deadline=INSTALL_DEADLINE)
        if not done.ok:
            raise Problem(
                "packages-failed",
                f"pacman could not install {' '.join(packages)}",
                why=done.tail(5),
                hint="upgrade the host (pacman -Syu), then run the same command again",
            )

    def present(self, host: Host, names: Sequence[str]) -> Collection[str]:
        return parse_query(host.run("pacman", "-Q", *names, deadline=30).stdout)

    def remove(self, host: Host, name: str) -> bool:
        done = host.run("pacman", "-R", "--noconfirm", name, deadline=INSTALL_DEADLINE)
        if not done.ok and "breaks dependency" not in done.stderr:
            raise Problem("packages-failed", f"pacman could not remove {name}", why=done.tail(5))
        return done.ok


def parse_query(text: str) -> Dict[str, str]:
    """`pacman -Q`: `docker 1:28.5.2-1` lines."""
    return {words[0]: words[1] for words in map(str.split, text.splitlines()) if len(words) == 2}


def parse_offered(text: str) -> str:
    """The Version line of `pacman -Si`."""
    match = re.search(r"^Version\s*: (\S+)", text, re.MULTILINE)
    return match[1] if match else ""
