"""What dpkg and apt print, as data. All pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Dict, List, Mapping

QUERY_FORMAT = "${Package}\t${db:Status-Abbrev}\t${Version}\n"


@dataclass(frozen=True)
class Package:
    """One line of dpkg's database."""

    version: str
    """Empty where only configuration files are left."""
    status: str
    """dpkg-query's Status-Abbrev: wanted, state and error letters; `ii` is installed and configured."""

    @property
    def installed(self) -> bool:
        return self.status[1:2] == "i"

    @property
    def held(self) -> bool:
        """By `apt-mark hold`."""
        return self.status[:1] == "h"

    @property
    def broken(self) -> bool:
        """Half-installed, unpacked, half-configured, waiting for triggers, or to be reinstalled."""
        return self.status[1:2] in ("H", "U", "F", "W", "t") or self.status[2:3] == "R"

    @property
    def torn(self) -> bool:
        """Half-installed, or marked by dpkg: only unpacking it again helps, configuring does not."""
        return self.status[1:2] == "H" or self.status[2:3] == "R"


def parse_dpkg(text: str) -> Dict[str, Package]:
    """`dpkg-query -W -f QUERY_FORMAT`; packages that dpkg has only heard of (`un`) are left out."""
    found = {}
    for line in text.splitlines():
        name, status, version = (*line.split("\t"), "", "")[:3]
        if name and status[1:2] not in ("", "n", "c"):
            found[name] = Package(version, status.rstrip())
    return found


def versions(packages: Mapping[str, Package], *, sound: bool = False) -> Dict[str, str]:
    """Package → version of those that are unpacked; `sound`: without those that must be unpacked again."""
    return {name: one.version for name, one in packages.items() if one.version and not (sound and one.torn)}


def parse_policy(text: str) -> Dict[str, str]:
    """`apt-cache policy NAME…`: package → candidate, for those that have one."""
    found: Dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line and not line[0].isspace() and line.endswith(":"):
            name = line[:-1]
        match = re.match(r"\s+Candidate: (\S+)", line)
        if match and match[1] != "(none)" and name:
            found[name] = match[1]
    return found


def parse_madison(text: str) -> Dict[str, List[str]]:
    """`apt-cache madison NAME…`: package → offered versions, the highest first, each once."""
    found: Dict[str, List[str]] = {}
    for line in text.splitlines():
        columns = [column.strip() for column in line.split("|")]
        if len(columns) == 3 and not columns[2].endswith("Sources"):
            listed = found.setdefault(columns[0], [])
            if columns[1] not in listed:
                listed.append(columns[1])
    return found


def parse_update_errors(text: str) -> List[str]:
    """The telling lines of a failed `apt-get update` or `install` (`E:`, `W:`), each once, without the file's
    name where only its server matters."""
    found: List[str] = []
    for line in text.splitlines():
        match = re.match(r"(?:E|W): (.*)", line.strip())
        if not match or re.search(r"Some index files failed|Unable to fetch some archives", line):
            continue
        fetch = re.match(r"Failed to fetch (\w+://[^/]+)\S*\s+(.*)", match[1])
        said = f"{fetch[1]}: {fetch[2]}" if fetch else match[1]
        if said not in found:
            found.append(said)
    return found
