"""Runs apt-get and dpkg: deadlines, locks, half-done installations, stale lists, and errors that say why."""

from __future__ import annotations

import re
import time
from typing import Callable, Dict, List, Sequence

from machinectl_agent.host import Completed, Host
from machinectl_agent.problems import Problem
from machinectl_agent.provisioners import apt_locks, apt_reach
from machinectl_agent.provisioners.apt_parse import (
    QUERY_FORMAT,
    Package,
    parse_dpkg,
    parse_madison,
    parse_policy,
    parse_update_errors,
)

LISTS = "/var/lib/apt/lists"
STAMP = "/var/lib/machinectl/apt-updated"
"""Its time says when our own last complete update was; apt leaves none where nothing was new."""
FAILED = "/var/lib/machinectl/apt-update-failed"
"""Is there after an incomplete one: apt touches its folder of lists then, too."""
FRESH = 24 * 3600.0
"""Seconds for which package lists are good enough to install from."""
UPDATE_DEADLINE = 180.0
INSTALL_DEADLINE = 600.0
REPAIR_DEADLINE = 300.0

ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "APT_LISTCHANGES_FRONTEND": "none",
    "NEEDRESTART_SUSPEND": "1",  # it would restart other services, sshd among them
    "UCF_FORCE_CONFFOLD": "1",
}
OPTIONS = (
    "-q",
    "-o", "DPkg::Lock::Timeout=120",
    "-o", "Dpkg::Options::=--force-confdef",
    "-o", "Dpkg::Options::=--force-confold",
    "-o", "Dpkg::Use-Pty=0",
    "-o", "Acquire::Retries=1",
    "-o", "Acquire::http::Timeout=8",
    "-o", "Acquire::https::Timeout=8",
)  # fmt: skip
"""apt's own 30 s and 3 retries would make two minutes of a mirror that is down."""
OFFLINE = (
    "-o", "Dir::Etc::SourceList=/dev/null",
    "-o", "Dir::Etc::SourceParts=/dev/null",
    "-o", "Dir::Cache::pkgcache=",
    "-o", "Dir::Cache::srcpkgcache=",
)  # fmt: skip
"""With no source there is nothing that apt could try to download."""

_MISSING = re.compile(
    r"Unable to locate package|no installation candidate|Version '.*' for '.*' was not found"
)
_FETCH = re.compile(r"Failed to fetch|Could not resolve|Unable to fetch|Temporary failure resolving")
_LOCKED = re.compile(r"Could not get lock|Unable to acquire the dpkg frontend lock|Unable to lock")
LISTS = "/var/lib/apt/lists"
LISTS_ROOM = 16 * 1024 * 1024
"""Bytes; a suite's compressed list alone has about 9 MB."""

_FULL = re.compile(r"No space left on device|don't have enough free space")
_NOT_SIGNED = re.compile(r"NO_PUBKEY|is not signed|signatures? (couldn't be verified|were invalid)|EXPKEYSIG")


class Apt:
    """apt on one host. `log` gets a line for everything that takes time."""

    def __init__(self, host: Host, log: Callable[[str], None] = lambda _: None) -> None:
        self.host = host
        self.log = log
        self.update_errors: List[str] = []
        self._reached = False

    # ---- reading: no network, no change

    def packages(self, *names: str) -> Dict[str, Package]:
        """State of these packages; one dpkg-query (20 ms)."""
        return parse_dpkg(self.host.run("dpkg-query", "-W", "-f", QUERY_FORMAT, *names, deadline=20).stdout)

    def interrupted(self) -> bool:
        """dpkg was killed before it had merged its journal; it refuses everything else until that is done."""
        return any(name.isdigit() for name in self.host.names("/var/lib/dpkg/updates"))

    def candidates(self, *names: str) -> Dict[str, str]:
        """Package → the version that an install would take."""
        return parse_policy(self.host.run("apt-cache", "policy", *names, deadline=60).stdout)

    def offers(self, *names: str) -> Dict[str, List[str]]:
        """Package → every version that a source offers."""
        return parse_madison(self.host.run("apt-cache", "madison", *names, deadline=60).stdout)

    def fresh(self, seconds: float = FRESH) -> bool:
        """The lists were fetched within that time, and after the last change of the sources."""
        fetched = max(self._time(LISTS), self._time(STAMP))
        sources = max(
            self._time("/etc/apt/sources.list"),
            self._time("/etc/apt/sources.list.d"),
            *(self._time(f"/etc/apt/sources.list.d/{name}") for name in self._sources()),
            0.0,
        )
        empty = not any(name.endswith("Packages") or "Packages." in name for name in self.host.names(LISTS))
        if empty or self.host.exists(FAILED):
            return False
        return fetched >= sources and time.time() - fetched < seconds

    def _sources(self) -> List[str]:
        return self.host.names("/etc/apt/sources.list.d")

    def _time(self, name: str) -> float:
        try:
            return self.host.path(name).stat().st_mtime
        except OSError:
            return 0.0

    # ---- changing

    def torn(self) -> Dict[str, Package]:
        """Packages of the whole host that were cut off while they were unpacked."""
        return {name: one for name, one in self.packages().items() if one.torn}

    def repair(self) -> None:
        """Finishes what an interrupted dpkg left. Missing dependencies are left to the next install (`-f`),
        and torn packages to `reinstall_torn`."""
        if not self.interrupted() and not self.host.run("dpkg", "--audit", deadline=60).stdout.strip():
            return
        self.log("finishing an interrupted package installation")
        apt_locks.wait_until_free(self.host, self.log)
        words = ("dpkg", "--configure", "-a", "--force-confdef", "--force-confold")
        done = self.host.run(*words, deadline=REPAIR_DEADLINE, env=ENVIRONMENT)
        if not done.ok and _FULL.search(done.stdout + done.stderr):
            raise explain(done, [])

    def reinstall_torn(self) -> None:
        """apt refuses everything else until these are unpacked again, in the version that they had."""
        torn = self.torn()
        if not torn:
            return
        offers = self.offers(*torn)
        words = [
            f"{name}={one.version}" if one.version in offers.get(name, ()) else name
            for name, one in torn.items()
        ]
        self.install(*words, options=("--reinstall",))

    def update(self) -> None:
        """Fetches the package lists. A source that fails is remembered for the error of a later install,
        where its packages are missed; it may be somebody else's and not matter at all."""
        self.log("fetching the package lists")
        apt_locks.wait_until_free(self.host, self.log)
        self.host.write(FAILED, "")
        self._check_room()
        self._reach()
        try:
            done = self._apt_get("update", deadline=UPDATE_DEADLINE)
        except Problem:
            self._check_room()
            raise
        text = f"{done.stdout}\n{done.stderr}"
        self.update_errors = parse_update_errors(text)
        if _FULL.search(text):
            raise explain(done, [])
        if done.ok and not self.update_errors:
            self.host.write(STAMP, "")
            self.host.remove(FAILED)
        for line in self.update_errors[:3]:
            self.log(f"apt: {line}")

    def _check_room(self) -> None:
        """`apt-get update` does not end on a full disk: it has to be asked before, and after a deadline."""
        free = self.host.free(LISTS)
        if free < LISTS_ROOM:
            raise Problem(
                "disk-full",
                f"no room for the package lists on the disk of {LISTS}",
                why=f"{free // 1024} KiB are free, {LISTS_ROOM // 1024} KiB is the least",
                hint="make room on the host (`df -h` there says where), then run the same command again",
            )

    def _reach(self) -> None:
        if not self._reached:
            apt_reach.check_sources(self.host)
            self._reached = True

    def update_if_stale(self, seconds: float = FRESH) -> None:
        if not self.fresh(seconds):
            self.update()

    def install(self, *words: str, options: Sequence[str] = ()) -> None:
        """`words`: package, package=version or package- (to remove it). Fetches the lists and tries again
        where a package or its file is not found. Raises `Problem`."""
        try:
            self._reach()
        except Problem:
            # what has been downloaded before is enough for an installation that was cut off
            if self._install(words, (*options, "--no-download")).ok:
                return
            raise
        done = self._install(words, options)
        text = f"{done.stdout}\n{done.stderr}"
        if not done.ok and not self.update_errors and (_MISSING.search(text) or _FETCH.search(text)):
            self.update()
            done = self._install(words, options)
        if not done.ok:
            raise explain(done, self.update_errors)

    def install_files(self, files: Sequence[str]) -> None:
        """Package files with all that they need among them or on the host; the network is not touched."""
        again = ("--reinstall",) if self.torn() else ()
        done = self._install(files, (*OFFLINE, "--allow-downgrades", *again))
        if not done.ok:
            raise explain(done, [])

    def remove(self, *names: str) -> None:
        done = self._apt_get("remove", "-y", *names, deadline=INSTALL_DEADLINE)
        if not done.ok:
            raise explain(done, [])

    def remove_single(self, name: str) -> bool:
        """False where another package needs it: dpkg removes nothing then, where apt would take both. Raises
        `Problem`."""
        apt_locks.wait_until_free(self.host, self.log)
        done = self.host.run("dpkg", "--remove", name, deadline=INSTALL_DEADLINE, env=ENVIRONMENT)
        if done.ok:
            return True
        if "dependency problems prevent removal" in done.stderr:
            return False
        raise explain(done, [])

    def _install(self, words: Sequence[str], options: Sequence[str]) -> Completed:
        # -f: an installation that was cut off may have left packages without what they depend on
        head = ("install", "-y", "-f", "--no-install-recommends", *options)
        return self._apt_get(*head, *words, deadline=INSTALL_DEADLINE)

    def _apt_get(self, *words: str, deadline: float) -> Completed:
        end = time.monotonic() + apt_locks.WAIT
        while True:
            apt_locks.wait_until_free(self.host, self.log)
            done = self.host.run("apt-get", *OPTIONS, *words, deadline=deadline, env=ENVIRONMENT)
            # somebody may have been quicker than we were after the wait
            if done.ok or not _LOCKED.search(done.stderr) or time.monotonic() > end:
                return done


def explain(done: Completed, update_errors: Sequence[str]) -> Problem:
    """The error for a failed apt or dpkg, by what it printed; `update_errors` are those of the lists."""
    text = f"{done.stdout}\n{done.stderr}"
    said = parse_update_errors(text) or [done.tail(3)]
    why = "; ".join([*said[:3], *(f"(package lists) {line}" for line in update_errors[:3])])
    if _FULL.search(text):
        full = [line.strip() for line in text.splitlines() if _FULL.search(line)]
        return Problem(
            "disk-full",
            "the disk of this host is full: packages can't be installed",
            why=full[0],
            hint="make room (`apt-get clean`, `docker system prune`), then run the same command again",
        )
    if _LOCKED.search(text):
        return apt_locks.locked(said[0], apt_locks.WAIT)
    if _NOT_SIGNED.search(text) or any(_NOT_SIGNED.search(line) for line in update_errors):
        return Problem(
            "source-untrusted",
            "a package source of this host is not signed by a key that the host trusts",
            why=why,
            hint="check the source's signing key and the host's clock",
        )
    if _MISSING.search(text) or _FETCH.search(text):
        return Problem(
            "packages-unavailable",
            "the packages can't be fetched from this host's sources",
            why=why,
            hint="check the host's network, proxy and /etc/apt/sources.list; without a network use"
            " --engine-package FILE",
        )
    if "unmet dependencies" in text or "not installable" in text:
        needs = [
            line.strip() for line in text.splitlines() if re.search(r"Depends:|Conflicts:|Breaks:", line)
        ]
        return Problem(
            "packages-unmet",
            "the packages need others that this host does not have and can't get",
            why="; ".join(needs[:6]) or why,
            hint="add the missing package files with --engine-package, or give the host a package source",
        )
    failed = [line.strip() for line in text.splitlines() if line.startswith("dpkg: error")]
    return Problem(
        "packages-failed",
        "apt could not install the packages",
        why="; ".join(failed[:2]) or why or done.tail(5),
        hint="look at /var/log/apt/term.log on the host",
    )
