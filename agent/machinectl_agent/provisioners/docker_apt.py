"""Docker's apt repository: which of its suites fits a host, and the files that add it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

from machinectl_agent.templates import render

SOURCE = "/etc/apt/sources.list.d/machinectl-docker.sources"
KEY = "/etc/apt/keyrings/machinectl-docker.asc"
PIN = "/etc/apt/preferences.d/machinectl-docker"

DEBIAN_CODENAMES = {"10": "buster", "11": "bullseye", "12": "bookworm", "13": "trixie"}
"""Debian's major version → codename. The last one serves testing, sid and what follows them: Docker has
no suites for those."""

ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "armhf",
    "ppc64le": "ppc64el",
    "s390x": "s390x",
}
"""uname(1)'s machine → dpkg's architecture."""


@dataclass(frozen=True)
class Suite:
    """Where a host's packages are below `URL/linux/`."""

    distribution: str = "debian"
    """`debian` or `ubuntu`."""
    codename: str = "bookworm"


def find_suite(release: Mapping[str, str], debian_version: str) -> Suite:
    """`release`: os-release(5); `debian_version`: the text of /etc/debian_version.

    Derivatives name the release that they are built on (Mint: UBUNTU_CODENAME, LMDE: DEBIAN_CODENAME), or
    their debian_version does (Kali has `kali-rolling`, Raspberry Pi OS `12.5`).
    """
    own = release.get("VERSION_CODENAME", "")
    if release.get("ID") == "ubuntu" or release.get("UBUNTU_CODENAME"):
        return Suite("ubuntu", release.get("UBUNTU_CODENAME") or own)
    if release.get("DEBIAN_CODENAME"):
        return Suite("debian", release["DEBIAN_CODENAME"])
    newest = list(DEBIAN_CODENAMES.values())[-1]
    if own in DEBIAN_CODENAMES.values():
        return Suite("debian", own)
    if release.get("ID") == "debian" and own and release.get("VERSION_ID"):
        return Suite("debian", own)  # a stable release that is younger than this table
    return Suite("debian", DEBIAN_CODENAMES.get(debian_version.strip().partition(".")[0], newest))


def source_text(url: str, suite: Suite, machine: str) -> str:
    """deb822 (sources.list(5)); `machine` is uname's word."""
    return render(
        "docker.sources",
        uri=f"{url}/linux/{suite.distribution}",
        suite=suite.codename,
        architecture=ARCHITECTURES.get(machine, ""),
        key=KEY,
    )


def pin_text(versions: Mapping[str, str]) -> str:
    """apt_preferences(5) that keep each package (name → full version); empty for none."""
    return render("docker.preferences", versions=versions) if versions else ""
