"""rpm's database and rpm files: what dnf and zypper stand on."""

from __future__ import annotations

from typing import Callable, Dict, Sequence, Tuple

from machinectl_agent.host import Host
from machinectl_agent.problems import Problem

FORMAT = "%{NAME}\t%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\n"
"""Name and `3:26.1.4-1.el9`; without an epoch just `26.1.4-1.el9`."""
INSTALL_DEADLINE = 600.0


def installed(host: Host, *names: str) -> Dict[str, str]:
    """Package → version of those that are there (20 ms)."""
    return parse_query(host.run("rpm", "-q", "--qf", FORMAT, *names, deadline=30).stdout)


def parse_query(text: str) -> Dict[str, str]:
    """`rpm -q --qf FORMAT`; lines like `package x is not installed` have no tab."""
    return dict(line.split("\t", 1) for line in text.splitlines() if "\t" in line)


def identify(host: Host, files: Sequence[str]) -> Dict[str, Tuple[str, str]]:
    """Path of an .rpm → its package and version. Raises `Problem` where it is none."""
    found = {}
    for path in files:
        shown = host.must("rpm", "-qp", "--nosignature", "--qf", FORMAT, path, deadline=60)
        name, version = shown.rstrip("\n").split("\t", 1)
        found[path] = (name, version)
    return found


def install_uploaded(
    host: Host, _log: Callable[[str], None], files: Sequence[str]
) -> Dict[str, Tuple[str, str]]:
    """`package_files.Installer` with rpm itself: it needs no network and no repository."""
    identity = identify(host, files)
    install_files(host, files)
    return identity


def remove_single(host: Host, name: str) -> bool:
    """False where another package needs it, and it stays. Raises `Problem`."""
    done = host.run("rpm", "-e", name, deadline=INSTALL_DEADLINE)
    if not done.ok and "is needed by" not in done.stderr:
        raise explain(f"{done.stdout}\n{done.stderr}", done.tail(5))
    return done.ok


def install_files(host: Host, files: Sequence[str]) -> None:
    """One transaction without any repository; `--oldpackage`: the files say which version is wanted."""
    done = host.run("rpm", "-U", "--replacepkgs", "--oldpackage", *files, deadline=INSTALL_DEADLINE)
    if done.ok:
        return
    text = f"{done.stdout}\n{done.stderr}"
    if "Failed dependencies" in text:
        needs = [line.strip() for line in text.splitlines() if "is needed by" in line]
        raise Problem(
            "packages-unmet",
            "the packages need others that this host does not have",
            why="; ".join(needs[:6]),
            hint="add the missing package files with --engine-package",
        )
    raise explain(text, done.tail(5))


def explain(text: str, tail: str) -> Problem:
    """The error for what rpm or dnf printed."""
    if "No space left on device" in text or "more space needed" in text:
        return Problem(
            "disk-full",
            "the disk of this host is full: packages can't be installed",
            why=tail,
            hint="make room, then run the same command again",
        )
    return Problem(
        "packages-failed",
        "rpm could not install the packages",
        why=tail,
        hint="look at the host's package log, then run the same command again",
    )
