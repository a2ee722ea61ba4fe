"""Where etcd's programs are on this host, and which version they are."""

from __future__ import annotations

import hashlib
import re
from typing import Mapping, Tuple

from machinectl_agent.host import Host
from machinectl_agent.problems import Problem

GIVEN = "/opt/machinectl/etcd"
"""Programs that the controller was given: a folder for each set of them, so that a running one is never replaced."""
PACKAGED = ("/usr/bin", "/usr/sbin")

Version = Tuple[int, int, int]
"""Empty version: 0.0.0."""


def folder(host: Host, binaries: Mapping[str, str]) -> str:
    """Of the programs that are wanted, there or not. The package's own place, never /usr/local: what somebody else
    has put there is not ours to run."""
    if binaries:
        text = "\n".join(f"{name} {digest}" for name, digest in sorted(binaries.items()))
        return f"{GIVEN}/{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return next((one for one in PACKAGED if host.exists(f"{one}/etcd")), PACKAGED[0])


def version(host: Host, program: str) -> str:
    """`3.4.23`; empty where there is no such program. Raises `Problem` where it does not run on this host."""
    if not program or not host.exists(program):
        return ""
    try:
        done = host.run(program, "--version", deadline=20, env={"ETCD_UNSUPPORTED_ARCH": unsupported()})
    except OSError as error:  # another architecture's: Exec format error
        raise _unfit(program, error.strerror or str(error)) from error
    found = parse_version(done.stdout)
    if not found:
        raise _unfit(program, done.tail(3))
    return found


def parse_version(text: str) -> str:
    """Of what `etcd --version` says."""
    found = re.search(r"^etcd Version: (\S+)", text, re.MULTILINE)
    return found[1] if found else ""


def numbers(text: str) -> Version:
    """`3.4.23+dfsg-1` → (3, 4, 23)."""
    found = re.match(r"(?:\d+:)?(\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else (0, 0, 0)


def check_move(present: str, wanted: str) -> None:
    """etcd's data go up by one minor version at a time, and never down. Raises `Problem`; an unknown version is
    allowed."""
    old, new = numbers(present), numbers(wanted)
    if not old[0] or not new[0] or old[:2] == new[:2]:
        return
    if new < old:
        raise Problem(
            "etcd-downgrade",
            f"etcd {present} can't become {wanted}",
            why="an older minor version does not read what a newer one has written",
            hint="`machinectl etcd backup`, then a new cluster of the older version and `machinectl etcd restore`",
        )
    if old[0] != new[0] or new[1] - old[1] > 1:
        raise Problem(
            "etcd-skips-minor",
            f"etcd {present} can't become {wanted} at once",
            why="etcd goes up by one minor version at a time",
            hint=f"`machinectl etcd upgrade --binaries` with a {old[0]}.{old[1] + 1} first, on all members",
        )


def unsupported() -> str:
    """What ETCD_UNSUPPORTED_ARCH has to say for an etcd before 3.5 to run on this machine; ignored elsewhere."""
    import platform  # noqa: PLC0415 - a fact of the machine, asked for once

    return {"aarch64": "arm64", "armv7l": "arm", "i686": "386"}.get(platform.machine(), "")


def _unfit(program: str, why: str) -> Problem:
    return Problem(
        "etcd-unfit",
        f"{program} does not run on this host",
        why=why,
        hint="are they for this host's architecture and C library? `machinectl etcd deploy --binaries` takes others",
    )
