"""One machine's sync by the rsync program, which finds what changed inside of files, too."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from machinectl.actions.sync.result import Synced
from machinectl.errors import ConnectionFailed, RemoteFailed, UsageError
from machinectl.model import Machine
from machinectl.remote.connection import Connection
from machinectl.remote.deadline import Deadline
from machinectl.remote.openssh import ssh_command
from machinectl.remote.rsync import Wish, render_as, render_rsync
from machinectl.remote.rsync_output import (
    STATUS,
    VANISHED,
    Progress,
    parse_change,
    parse_progress,
    parse_stats,
)
from machinectl.store.store import Store

PROBE_DEADLINE = 15.0

_PROBE = (
    "LC_ALL=C; export LC_ALL; command -v rsync >/dev/null && echo rsync; "
    'id -u {user} >/dev/null 2>&1 && echo known; [ "$(id -u)" = 0 ] && echo root; '
    '[ "$(id -un)" = {user} ] && echo same; '
    "command -v sudo >/dev/null && sudo -n -u {user} true 2>/dev/null && echo sudo; :"
)

Running = Callable[[subprocess.Popen[bytes]], None]


class Children:
    """rsync's processes of one run, in many threads: all are ended when a person wants no more."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[bytes]] = []
        self._guard = threading.Lock()

    def add(self, child: subprocess.Popen[bytes]) -> None:
        with self._guard:
            self._started.append(child)

    def end(self) -> None:
        with self._guard:
            for child in self._started:
                with contextlib.suppress(OSError):
                    end(child)


class SshRefused(ConnectionFailed):
    """ssh is not let in where our own connection is: it does not find the key that we use."""


@dataclass(frozen=True)
class Fit:
    """Whether rsync can do it on a machine, and how it is started there."""

    there: str = ""
    why_not: str = ""


def local_fit() -> str:
    """Why rsync can't be used here; empty: it can."""
    if shutil.which("ssh") is None:
        return "ssh is not installed here"
    if shutil.which("rsync") is None:
        return "rsync is not installed here"
    said = subprocess.run(
        ["rsync", "--version"], capture_output=True, timeout=PROBE_DEADLINE, check=False
    ).stdout.decode(errors="replace")
    version = re.match(r"rsync\s+version v?(\d+)\.(\d+)", said)
    # 3.1 brought --info; macOS has a program of this name that lacks it
    if not version or (int(version[1]), int(version[2])) < (3, 1):
        return f"rsync here is older than 3.1 ({said.splitlines()[0] if said else 'no version'})"
    return ""


def probe(connection: Connection, user: str) -> Fit:
    """Asks the machine whether its rsync can run as `user`. Raises RemoteFailed where there is no such user."""
    done = connection.run(_PROBE.format(user=shlex.quote(user)), deadline=PROBE_DEADLINE, as_root=False)
    said = done.stdout.decode(errors="replace").split()
    if "known" not in said:
        raise RemoteFailed(f"there is no user {user} on this host", hint="USER@PATTERN:PATH names one")
    if "rsync" not in said:
        return Fit(why_not="rsync is not installed there")
    if "same" in said:
        return Fit()
    if "root" in said or "sudo" in said:
        return Fit(render_as(user, by_root="root" in said))
    return Fit(why_not="sudo wants a password there")


def sync_by_rsync(
    store: Store,
    machine: Machine,
    sources: Sequence[str],
    target: str,
    wish: Wish,
    *,
    push: bool,
    there: str = "",
    within: float,
    report: Callable[[Progress], None],
    running: Running,
) -> Synced:
    """Raises `MachinectlError`, and `SshRefused` where only the system's ssh is not let in. `running` is told the
    process, for whoever must end it."""
    began = time.monotonic()
    ssh = ssh_command(machine.ssh, store.known_hosts)
    argv = render_rsync(ssh, sources, target, wish, push=push, there=there)
    status, lines, words = _run(argv, within, report, running)
    if status not in (0, VANISHED):
        raise _failed(status, words)
    for line in lines:
        if line.startswith("skipping directory ") and not wish.recursive:
            raise UsageError(
                f"{line.removeprefix('skipping directory ')} is a folder", hint="-r copies folders"
            )
    counted = parse_stats(lines, push=push)
    changes = tuple(change for line in lines if (change := parse_change(line))) if wish.dry_run else ()
    return Synced(
        "rsync",
        counted.files,
        counted.sent,
        counted.bytes,
        counted.deleted,
        time.monotonic() - began,
        changes,
        "files vanished from the source while it was read" if status == VANISHED else "",
    )


def _run(
    argv: Sequence[str], within: float, report: Callable[[Progress], None], running: Running
) -> tuple[int, list[str], str]:
    """Exit status, stdout's lines without progress, stderr. In a session of its own: no prompt of ssh's, and a
    Ctrl-C is ours to deal with."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    for name in ("RSYNC_PARTIAL_DIR", "RSYNC_RSH", "RSYNC_PROTECT_ARGS", "RSYNC_OLD_ARGS"):
        environment.pop(name, None)
    with tempfile.TemporaryFile() as said:
        # where we are killed, rsync would go on alone; the kernel tells it, if it is Linux
        leash = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
        child = subprocess.Popen(
            [*leash, *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            env=environment,
            start_new_session=True,
        )
        running(child)
        try:
            lines = _lines(child, Deadline(within), report)
            status = child.wait(timeout=30)
        except BaseException:
            end(child)
            raise
        said.seek(0)
        return status, lines, said.read(16384).decode(errors="replace").strip()


def end(child: subprocess.Popen[bytes]) -> None:
    """rsync and its ssh; the other side cleans up by itself when the connection ends."""
    if child.poll() is not None:
        return  # its number may be another's by now
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
    try:
        child.wait(timeout=5)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _lines(child: subprocess.Popen[bytes], clock: Deadline, report: Callable[[Progress], None]) -> list[str]:
    assert child.stdout
    found: list[str] = []
    left = b""
    with selectors.DefaultSelector() as waiting, child.stdout:
        waiting.register(child.stdout, selectors.EVENT_READ)
        while True:
            if not waiting.select(clock.left()):
                raise RemoteFailed(
                    "the sync did not end in time",
                    why=f"it was given {clock.seconds:g} s",
                    hint="give it more with --timeout SECONDS; run it again: only what is missing is sent",
                    problem="remote-timeout",
                )
            part = os.read(child.stdout.fileno(), 65536)
            # progress rewrites its line with carriage returns
            *whole, left = re.split(rb"[\r\n]", left + part)
            for raw in whole if part else [left]:
                line = raw.decode("utf-8", "surrogateescape")
                if now := parse_progress(line):
                    report(now)
                elif line:
                    found.append(line)
            if not part:
                return found


def _failed(status: int, words: str) -> RemoteFailed | SshRefused:
    told = [line for line in words.splitlines() if not line.startswith("rsync error: ")]
    shown = "\n".join(told[:6] + ([f"… and {len(told) - 6} lines more"] if len(told) > 6 else []))
    if status == 255 and "Permission denied" in words:
        return SshRefused("ssh is not let in", why=shown)
    what, hint = STATUS.get(status, ("rsync failed", ""))
    problem = "sync-failed"
    if "No space left on device" in words or "Disk quota exceeded" in words:
        what, hint, problem = "the disk is full", "make room: `df -h` on the machine says where", "disk-full"
    elif "Permission denied" in words:
        hint, problem = "leave USER@ out to write as root, or choose a folder of that user's", "denied"
    elif "Read-only file system" in words:
        hint, problem = "the target is on a file system that is mounted read-only", "read-only"
    elif "No such file or directory" in words and status in (3, 11):
        hint = "the folder above the target must be there: machinectl exec NAME -- mkdir -p FOLDER"
    return RemoteFailed(what, why=shown or f"rsync ended with status {status}", hint=hint, problem=problem)
