"""The machine's own programs that the lab needs, and how it calls them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from machinectl.errors import LabError

TOOLS = (
    ("debootstrap", "debootstrap"),
    ("systemd-nspawn", "systemd-container"),
    ("nft", "nftables"),
    ("nsenter", "util-linux"),
    ("ssh-keygen", "openssh-client"),
)
"""Program, and Debian's package for it."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def missing_tools() -> list[tuple[str, str]]:
    """Program and Debian package of everything that is not there."""
    return [(tool, package) for tool, package in TOOLS if not shutil.which(tool, path=PATH)]


def check_ready() -> None:
    """Raises `LabError` without root or without a tool, before anything changes."""
    if os.geteuid() != 0:
        raise LabError(
            "the lab needs root", why="it makes network namespaces and mounts", hint="sudo machinectl lab …"
        )
    missing = missing_tools()
    if missing:
        packages = " ".join(sorted({package for _, package in missing}))
        raise LabError(
            f"the lab needs {', '.join(tool for tool, _ in missing)}", hint=f"apt-get install {packages}"
        )


def call(
    argv: Sequence[str], *, stdin: str = "", deadline: float = 60.0, check: bool = True, why: str = ""
) -> subprocess.CompletedProcess[str]:
    """Runs a tool to its end. Raises `LabError` with its last lines when it fails or takes too long."""
    environment = {"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"}
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        if name in os.environ:
            environment[name] = os.environ[name]
    try:
        done = subprocess.run(
            list(argv),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=deadline,
            env=environment,
            check=False,
            # a `kill 0` inside of a host ends that command, and not whoever called it
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"`{argv[0]}` did not end within {deadline:.0f} s", why=why) from error
    if check and done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()[-4:]
        raise LabError(why or f"`{' '.join(argv)[:120]}` failed", why=" / ".join(lines))
    return done
