"""Runs dnf (4 and 5; yum is dnf's other name since RHEL 8): queries, installs, version locks, errors."""

from __future__ import annotations

import json
import re
from typing import Callable, Dict, List, Mapping, Sequence

from machinectl_agent.host import Completed, Host
from machinectl_agent.problems import Problem
from machinectl_agent.provisioners import rpm

QUERY_DEADLINE = 180.0
"""Seconds; a first query fetches the metadata of all repositories."""
INSTALL_DEADLINE = 600.0
OPTIONS = (
    "-y",
    "--setopt=timeout=8",
    "--setopt=retries=2",
    "--setopt=install_weak_deps=False",
    "--setopt=*.skip_if_unavailable=1",  # somebody else's broken repository must not matter
)
LOCK_RECORD = "/var/lib/machinectl/versionlock.json"
"""Which locks are ours: package → the version that it is locked to."""
LOCK_FILES = ("/etc/dnf/plugins/versionlock.list", "/etc/dnf/versionlock.toml")
"""Where dnf 4's plugin and dnf 5 keep their locks."""
LOCK_PLUGIN = "python3-dnf-plugin-versionlock"


class Dnf:
    """dnf on one host. `log` gets a line for everything that takes time."""

    def __init__(self, host: Host, log: Callable[[str], None] = lambda _: None) -> None:
        self.host = host
        self.log = log
        self.query_errors: List[str] = []
        """What the last `offers` met on its way; a broken repository is no error by itself."""
        self._five = bool(host.which("dnf5"))
        self._program = "dnf5" if self._five else ("dnf" if host.which("dnf") else "yum")

    def offers(self, *names: str, cached: bool = False) -> Dict[str, List[str]]:
        """Package → versions that the repositories offer, locks left aside. `cached`: without any network,
        and so without an answer where the metadata was never fetched."""
        words = ["repoquery", "--available", "--qf", "%{name}\\t%{evr}\\n", *names]
        # a lock hides all other versions
        words[:0] = ["--setopt=disable_excludes=*" if self._five else "--disableplugin=versionlock"]
        if cached:
            words.insert(0, "-C")
        else:
            self.log("fetching the repositories' metadata")
            # without a reason from dnf nobody could tell why our own repository offers nothing
            words.insert(0, "--setopt=machinectl-docker.skip_if_unavailable=0")
        done = self._run(*words, deadline=QUERY_DEADLINE)
        self.query_errors = telling_lines(done)
        return parse_repoquery(done.stdout)

    def install(self, *words: str, options: Sequence[str] = ()) -> None:
        """`words`: package or package-EVR. Raises `Problem`."""
        self.log(f"installing {', '.join(words)}")
        self._must("install", *options, *words)

    def reinstall(self, *names: str) -> None:
        self._must("reinstall", *names)

    def remove(self, *names: str) -> None:
        self._must("remove", *names)

    def _must(self, verb: str, *words: str) -> None:
        done = self._run(verb, *words, deadline=INSTALL_DEADLINE)
        if not done.ok:
            raise explain(done)

    def _run(self, *words: str, deadline: float) -> Completed:
        return self.host.run(self._program, *OPTIONS, *words, deadline=deadline)

    # ---- version locks

    def can_lock(self) -> bool:
        """dnf 5 always can, dnf 4 with a plugin."""
        return self._five or self.host.exists("/etc/dnf/plugins/versionlock.conf")

    def lock(self, versions: Mapping[str, str]) -> None:
        """Replaces our locks by these (package → version)."""
        self.unlock()
        if not self.can_lock():
            try:
                self.install(LOCK_PLUGIN)
            except Problem as problem:
                self.log(
                    f"the version can't be locked ({problem.why}): an upgrade of this host may change it"
                )
        if self.can_lock():
            self._must("versionlock", "add", *(f"{name}-{version}" for name, version in versions.items()))
        self.host.write(LOCK_RECORD, json.dumps(dict(versions), sort_keys=True) + "\n")

    def unlock(self) -> None:
        """Removes our locks and no others."""
        ours = read_locks(self.host)
        if ours and self.can_lock():
            words = [name if self._five else f"{name}-*" for name in ours]
            self._run("versionlock", "delete", *words, deadline=60)
        self.host.remove(LOCK_RECORD)


def read_locks(host: Host) -> Dict[str, str]:
    """Our own locks that are still there. Without the plugin the record alone counts."""
    try:
        record = json.loads(host.read(LOCK_RECORD) or "{}")
    except ValueError:
        record = {}
    texts = [text for text in map(host.read, LOCK_FILES) if text is not None]
    if texts and isinstance(record, dict):
        return {name: version for name, version in record.items() if any(name in text for text in texts)}
    return record if isinstance(record, dict) else {}


def parse_repoquery(text: str) -> Dict[str, List[str]]:
    """Lines of name, tab, epoch:version-release; each version once."""
    found: Dict[str, List[str]] = {}
    for line in text.splitlines():
        name, tab, version = line.strip().partition("\t")
        if tab and version not in found.setdefault(name, []):
            found[name].append(version.removeprefix("0:"))
    return found


def telling_lines(done: Completed) -> List[str]:
    """What dnf says about failures, each once: lines of `Error:` and the reasons below them."""
    lines = f"{done.stdout}\n{done.stderr}".splitlines()
    telling = re.compile(r"\s*(- |Error|error|Problem|Curl error|Cannot download|Status code)")
    return list(dict.fromkeys(line.strip(" -") for line in lines if telling.match(line)))


def explain(done: Completed) -> Problem:
    """The error for a failed dnf by what it printed."""
    text = f"{done.stdout}\n{done.stderr}"
    why = "; ".join(telling_lines(done)[-4:]) or done.tail(4)
    if re.search(r"Cannot download|Failed to download|Curl error|Could(n't| not) resolve host", text):
        return Problem(
            "packages-unavailable",
            "the packages can't be fetched from this host's repositories",
            why=why,
            hint="check the host's network, proxy and /etc/yum.repos.d; without a network use"
            " --engine-package FILE",
        )
    if re.search(r"No match for argument|Unable to find a match", text):
        return Problem(
            "packages-unavailable",
            "no repository of this host offers the packages",
            why=why,
            hint="name a repository with --engine-mirror URL, or upload packages with --engine-package FILE",
        )
    if re.search(r"conflicts with|nothing provides|problem with installed", text):
        return Problem(
            "packages-unmet",
            "the packages do not fit with what is installed on this host",
            why=why,
            hint="remove what is in the way (Docker's packages do not live beside runc and podman-docker)",
        )
    if re.search(r"GPG|signature|public key", text, re.IGNORECASE):
        return Problem(
            "source-untrusted",
            "the packages are not signed by a key that this host trusts",
            why=why,
            hint="check the repository's gpgkey and the host's clock",
        )
    return rpm.explain(text, why)
