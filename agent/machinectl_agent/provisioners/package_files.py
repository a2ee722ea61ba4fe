"""Package files that the controller uploads, for hosts without a network.

Whether they are installed already is told from their names (`docker-ce_26.1.4-1~debian.12_amd64.deb`,
`docker-ce-26.1.4-1.el9.x86_64.rpm`) and from our own record of what was installed from which file, so that
a second run uploads nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import asdict, dataclass
from typing import Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from machinectl_agent.host import Host
from machinectl_agent.phases.base import Step, Work
from machinectl_agent.problems import Problem
from machinectl_agent.provisioners.base import Installed
from machinectl_agent.provisioners.engine_version import order_key, without_epoch
from machinectl_agent.spec import PackageFile

FOLDER = "/var/lib/machinectl/packages"
RECORD = "/var/lib/machinectl/packages.json"

Log = Callable[[str], None]
Installer = Callable[[Host, Log, Sequence[str]], Dict[str, Tuple[str, str]]]
"""Installs files; returns path → (package, version) as the files themselves say."""


@dataclass(frozen=True)
class Recorded:
    """What an uploaded file turned out to be."""

    package: str
    version: str


@dataclass(frozen=True)
class Parsed:
    """What a file's name says."""

    package: str
    version: str
    arch: str


@dataclass(frozen=True)
class State:
    """What is on the host: the engine, package → version, sha256 → what we installed from it."""

    installed: Installed
    versions: Mapping[str, str]
    recorded: Mapping[str, Recorded]


def parse_name(name: str) -> Optional[Parsed]:
    """None for a name that tells nothing (`engine.deb`). A .deb's epoch is `%3a` or left out."""
    match = re.fullmatch(r"([a-z0-9][a-z0-9.+-]*)_([^_]+)_([a-z0-9-]+)\.deb", name)
    if match:
        return Parsed(match[1], match[2].replace("%3a", ":").replace("%3A", ":"), match[3])
    match = re.fullmatch(r"(.+)-([^-]+-[^-]+)\.([^.]+)\.rpm", name)
    return Parsed(match[1], match[2], match[3]) if match else None


def names(files: Sequence[PackageFile], recorded: Mapping[str, Recorded]) -> List[str]:
    """The packages whose state `plan` needs to know, as far as record and names tell."""
    known = [recorded.get(one.sha256) or parse_name(one.name) for one in files]
    return [one.package for one in known if one]


def read_record(host: Host) -> Dict[str, Recorded]:
    """sha256 → what it was; empty where there is no record or a broken one."""
    try:
        return {key: Recorded(**one) for key, one in json.loads(host.read(RECORD) or "{}").items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def plan(
    files: Sequence[PackageFile], ending: str, arch: str, state: State, installer: Installer
) -> List[Step]:
    """One step where not all files are installed. `arch` is the host's, in the packages' own words; empty:
    not known. Raises `Problem` `package-wrong` for files of another kind or architecture."""
    for one in files:
        _check_fits(one.name, ending, arch)
    if state.installed.dockerd and all(satisfied(one, state) for one in files):
        return []
    # all of them go into one transaction: they may depend on each other
    title = "+ install " + ", ".join(f"{one.name} ({one.size / 1e6:.1f} MB)" for one in files)
    return [Step("packages/files", title, lambda work: _apply(work, files, installer))]


def satisfied(one: PackageFile, state: State) -> bool:
    """The file's version is installed, or a later one of a package that is not the engine's."""
    parsed = parse_name(one.name)
    known = state.recorded.get(one.sha256) or (Recorded(parsed.package, parsed.version) if parsed else None)
    if known is None or known.package not in state.versions:
        return False
    current, wanted = state.versions[known.package], known.version
    if ":" not in wanted:
        current = without_epoch(current)
    if known.package.startswith(("docker", "moby")):
        return current == wanted
    # a library may have had a security update since
    return order_key(current) >= order_key(wanted)


def _check_fits(name: str, ending: str, arch: str) -> None:
    if not name.endswith(ending):
        raise Problem(
            "package-wrong",
            f"{name} is no package of this host's kind",
            why=f"this distribution installs {ending} files",
            hint="give files for this distribution with --engine-package",
        )
    parsed = parse_name(name)
    if parsed and arch and parsed.arch not in (arch, "all", "any", "noarch"):
        raise Problem(
            "package-wrong",
            f"{name} is for another architecture",
            why=f"this host is {arch}",
            hint=f"give the {arch} files with --engine-package",
        )


def _apply(work: Work, files: Sequence[PackageFile], installer: Installer) -> None:
    paths = {one.sha256: f"{FOLDER}/{one.sha256}/{one.name}" for one in files}
    for path in paths.values():
        work.host.make_folder(path.rpartition("/")[0])
    lacking = [one for one in files if digest(work.host, paths[one.sha256]) != one.sha256]
    if lacking:
        work.need([{"name": one.name, "sha256": one.sha256, "path": paths[one.sha256]} for one in lacking])
    for one in lacking:
        found = digest(work.host, paths[one.sha256])
        if found != one.sha256:
            work.host.remove(paths[one.sha256])
            raise Problem(
                "package-corrupt",
                f"{one.name} arrived changed" if found else f"{one.name} did not arrive",
                why=f"its sha256 is {found or '(none)'} instead of {one.sha256}",
                hint="run the same command again; the file may have been changed meanwhile",
            )
    work.log(f"installing {len(files)} package files")
    identity = installer(work.host, work.log, list(paths.values()))
    if not work.host.which("dockerd"):
        raise Problem(
            "package-wrong",
            "the uploaded packages are installed, and there is no dockerd among them",
            why=f"installed: {', '.join(one.name for one in files)}",
            hint="add the engine's own package (docker-ce or docker.io) with --engine-package",
        )
    record = read_record(work.host)
    record.update({one.sha256: Recorded(*identity[paths[one.sha256]]) for one in files})
    text = json.dumps({key: asdict(value) for key, value in record.items()}, indent=1, sort_keys=True)
    work.host.write(RECORD, text + "\n")
    # also what earlier runs left that were cut off
    shutil.rmtree(work.host.path(FOLDER))


def digest(host: Host, name: str) -> str:
    """sha256 in hex; empty where there is no such file."""
    summed = hashlib.sha256()
    try:
        with open(host.path(name), "rb") as stream:
            for part in iter(lambda: stream.read(1 << 20), b""):
                summed.update(part)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    return summed.hexdigest()
