"""The package mirror: the machine's own, by its apt configuration, so that the lab works behind any."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from machinectl.errors import LabError

APT = Path("/etc/apt")

DEBIAN_SUITES = {
    *("bullseye", "bookworm", "trixie", "forky", "sid"),
    *("oldoldstable", "oldstable", "stable", "testing", "unstable"),
}


@dataclass(frozen=True)
class Source:
    """One `deb` entry: URI and suites."""

    uri: str
    suites: tuple[str, ...]


def read_sources(folder: Path = APT) -> list[Source]:
    """sources.list(5), both formats; only binary packages, only Debian-like entries with components."""
    found = []
    for path in [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]:
        if path.suffix in (".list", ".sources") and path.is_file():
            text = path.read_text(errors="replace")
            found.extend(parse_deb822(text) if path.suffix == ".sources" else parse_lines(text))
    return [Source(uri, one.suites) for one in found for uri in _resolve(one.uri)]


def _resolve(uri: str) -> list[str]:
    """Debian's cloud images name a file with a mirror a line (apt-transport-mirror(1))."""
    path = re.match(r"mirror\+file:(?://)?(/.+)$", uri)
    if not path:
        return [uri]
    try:
        lines = Path(path[1]).read_text().splitlines()
    except OSError:
        return []
    return [line.split()[0] for line in lines if line.strip() and not line.lstrip().startswith("#")]


def parse_lines(text: str) -> list[Source]:
    """`deb [options] URI SUITE COMPONENTS…`, a line each."""
    lines = re.findall(r"^\s*deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)\s+main\b", text, re.MULTILINE)
    return [Source(uri, (suite,)) for uri, suite in lines]


def parse_deb822(text: str) -> list[Source]:
    """Stanzas of `Types:`, `URIs:`, `Suites:`, `Components:`."""
    found: list[Source] = []
    for stanza in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", stanza, re.MULTILINE))
        if fields.get("Enabled", "yes").strip().lower() in ("no", "false", "0"):
            continue
        if "deb" in fields.get("Types", "").split() and "main" in fields.get("Components", "").split():
            suites = tuple(fields.get("Suites", "").split())
            found.extend(Source(uri, suites) for uri in fields.get("URIs", "").split())
    return found


def debian_mirror(sources: list[Source]) -> str:
    """The URI that ends in /debian and has a Debian suite. Raises `LabError` on machines of other distributions.

    Other projects' repositories may end in /debian and have a suite `bookworm` as well, but no updates for it.
    """
    uris = [source.uri for source in sources if re.search(r"/debian/?$", source.uri)]
    suites = {uri: {one for source in sources if source.uri == uri for one in source.suites} for uri in uris}
    for uri in uris:
        if any(one.endswith("-updates") for one in suites[uri]):
            return uri
    for uri in uris:
        if suites[uri] & DEBIAN_SUITES:
            return uri
    raise LabError(
        "no Debian mirror in this machine's apt sources",
        why="the lab's hosts are Debian, made from the mirror that this machine uses itself",
        hint="name one: MACHINECTL_LAB_MIRROR=http://HOST/debian machinectl lab up",
    )


def render_sources(suite: str, mirror: str, sources: list[Source]) -> str:
    """sources.list of a host: the suite, and its updates and security where the machine has such sources."""
    lines = [f"deb {mirror} {suite} main"]
    if suite != "sid":
        if any(one.endswith("-updates") for source in sources for one in source.suites):
            lines.append(f"deb {mirror} {suite}-updates main")
        for source in sources:
            if any(one.endswith("-security") for one in source.suites):
                lines.append(f"deb {source.uri} {suite}-security main")
                break
    return "\n".join(lines) + "\n"


def render_apt_conf(dump: str) -> str:
    """The machine's proxies out of `apt-config dump`, no pointless downloads, and no complaint about a mirror
    that lags behind."""
    lines = [
        'Acquire::Check-Valid-Until "false";',
        'Acquire::Languages "none";',
        'APT::Install-Recommends "false";',
    ]
    lines.extend(re.findall(r'^Acquire::https?::Proxy(?:::[^ ]+)? "[^"]+";$', dump, re.MULTILINE))
    return "\n".join(lines) + "\n"
