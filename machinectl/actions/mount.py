"""mount: a folder of a machine in a folder of this computer, by sshfs; and away again."""

from __future__ import annotations

import dataclasses
import errno
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from machinectl.errors import ConnectionFailed, MachinectlError, UsageError
from machinectl.remote.openssh import ssh_command
from machinectl.remote.sshfs import render_sshfs
from machinectl.store.store import Store

MOUNT_DEADLINE = 120.0
"""Seconds; connecting has 15 of them, the rest is for typing a passphrase."""

UNMOUNT_DEADLINE = 30.0


def mount(
    store: Store, name: str, path: str, mountpoint: Path, *, user: str = "", options: Sequence[str] = ()
) -> None:
    """`path` of the machine, empty: the user's home. Raises `MachinectlError` with sshfs's and ssh's own words."""
    machine = store.load(name)
    if shutil.which("sshfs") is None:
        raise MachinectlError(
            "sshfs is not installed here",
            why="You must have a copy of the sshfs binary locally to use the mount feature",
            hint="install your distribution's package sshfs (macOS: macFUSE and sshfs)",
        )
    _check(mountpoint)
    address = dataclasses.replace(machine.ssh, user=user) if user else machine.ssh
    command = render_sshfs(ssh_command(address, store.known_hosts), path, str(mountpoint), options)
    # a file, no pipe: ssh lives on in the background and would keep a pipe open
    with tempfile.TemporaryFile() as said:
        try:
            done = subprocess.run(command, stdout=said, stderr=said, timeout=MOUNT_DEADLINE, check=False)
        except subprocess.TimeoutExpired as error:
            raise ConnectionFailed(
                "sshfs did not connect in time", why=f"it was given {MOUNT_DEADLINE:g} s", machine=name
            ) from error
        said.seek(0)
        words = _telling(said.read(4000).decode(errors="replace"))
    if done.returncode:
        raise MachinectlError(
            f"{path or 'the home folder'} can't be mounted on {mountpoint}",
            why=words or f"sshfs ended with status {done.returncode}",
            hint=_hint(words, name),
            machine=name,
            problem="mount-failed",
        )


def unmount(mountpoint: Path) -> None:
    """Whatever FUSE has mounted there, also of a machine that is gone. Raises `MachinectlError`."""
    programs = (("fusermount3", "-u"), ("fusermount", "-u"), ("umount",))
    program = next((one for one in programs if shutil.which(one[0])), None)
    if program is None:
        raise MachinectlError(
            "fusermount is not installed here",
            why="You must have a copy of the fusermount binary locally to use the unmount option",
            hint="install your distribution's package fuse3",
        )
    try:
        done = subprocess.run(
            [*program, "--", str(mountpoint)] if len(program) > 1 else [*program, str(mountpoint)],
            capture_output=True,
            timeout=UNMOUNT_DEADLINE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise MachinectlError(f"{mountpoint} was not unmounted in {UNMOUNT_DEADLINE:g} s") from error
    if done.returncode:
        words = (done.stderr or done.stdout).decode(errors="replace").strip()
        busy = "busy" in words.lower()
        raise MachinectlError(
            f"{mountpoint} can't be unmounted",
            why=words or f"exit status {done.returncode}",
            hint="end what uses it (`fuser -vm` names it), or leave the folder" if busy else "",
            problem="unmount-failed",
        )


def _check(mountpoint: Path) -> None:
    try:
        if not mountpoint.is_dir():
            mountpoint.stat()
            raise UsageError(f"{mountpoint} is no folder", hint="name an empty folder")
        taken = mountpoint.is_mount()
    except FileNotFoundError as error:
        raise UsageError(f"there is no folder {mountpoint}", hint=f"mkdir -p {mountpoint}") from error
    except OSError as error:
        taken = error.errno in (errno.ENOTCONN, errno.EIO)
        if not taken:
            raise UsageError(f"{mountpoint} can't be used", why=error.strerror or str(error)) from error
    if taken:
        raise UsageError(
            f"something is mounted on {mountpoint} already", hint=f"machinectl mount -u {mountpoint}"
        )


def _telling(said: str) -> str:
    """sshfs adds to ssh's words only that the connection ended."""
    lines = [line for line in said.splitlines() if line.strip()]
    return "\n".join([line for line in lines if line != "read: Connection reset by peer"] or lines)


def _hint(words: str, name: str) -> str:
    if "Host key verification failed" in words or "No ED25519 host key" in words:
        return f"`machinectl status {name}` says what is wrong with its host key"
    if "fuse" in words.lower() and ("not found" in words or "not permitted" in words):
        return "FUSE is not to be had here: load the module fuse, or run it where /dev/fuse is"
    if "No such file" in words:
        return "the folder must be there on the machine"
    return f"`machinectl ssh {name}` must work without a question"
