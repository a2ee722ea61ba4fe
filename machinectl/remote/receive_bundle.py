"""Runs on the host, given to its Python by `-c`: takes the agent archive from stdin and puts it in place.

Arguments: ROOT NAME INTERPRETER. stdin: HEADER bytes of size and SHA-256, then the archive, then what is not
ours. ROOT/NAME appears whole or not at all, whoever else is doing the same, and whenever the power goes.
Standard library of Python 3.9 only; nothing of the project is there yet.
No backslash and no apostrophe here, so that every login shell can pass this text on in quotes.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
import time
from pathlib import Path
from typing import NoReturn

HEADER = 86
"""20 characters of size, a space, 64 of SHA-256, a newline."""

KEPT_SECONDS = 86400
"""Younger trees may be in use by another controller or a running daemon."""


def fail(problem: str, what: str, why: str = "", hint: str = "") -> NoReturn:
    """Ends with an error event, in the words of machinectl_agent.wire."""
    message = {"event": "error", "problem": problem, "what": what, "why": why, "hint": hint}
    print(json.dumps(message), flush=True)
    sys.exit(1)


def read_exactly(size: int) -> bytes:
    """By os.read, so that not one byte of what follows is taken."""
    parts = []
    while size:
        part = os.read(0, min(size, 1 << 20))
        if not part:
            fail("upload-interrupted", "the agent did not arrive whole", "the connection ended early")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def unpack(archive: bytes, folder: Path) -> None:
    """Writes the files as whoever runs this (root), whatever the archive says about owners."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        for member in tar:
            source = tar.extractfile(member) if member.isfile() else None
            if source is None or member.name.startswith("/") or ".." in member.name.split("/"):
                fail("bundle-damaged", "the agent archive holds an unexpected entry", member.name)
            path = folder / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source.read())


def sync(folder: Path) -> None:
    """One syncfs(2) instead of a hundred fsync(2): 10 ms instead of 500."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if ctypes.CDLL(None).syncfs(descriptor) == 0:
            return
    except AttributeError:
        pass  # a C library without it
    finally:
        os.close(descriptor)
    os.sync()


def link_target(path: Path) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115  # Path.readlink gives a Path, and names are compared here
    except OSError:
        return ""


def swap_link(path: Path, target: str) -> None:
    temporary = path.with_name(f"{path.name}.tmp.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(path)


def remove_old(root: Path, kept: set[str]) -> None:
    for path in root.iterdir():
        try:
            old = time.time() - path.lstat().st_mtime > KEPT_SECONDS
        except OSError:
            continue  # another controller was faster
        if old and path.name not in kept and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)


def install(root: Path, name: str, archive: bytes, interpreter: str) -> None:
    """Unpacks beside, syncs, renames; then `current` is this tree and `previous` the one before."""
    root.mkdir(mode=0o755, parents=True, exist_ok=True)
    final = root / name
    temporary = root / f"{name}.tmp.{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(mode=0o755)
    try:
        unpack(archive, temporary)
        (temporary / "interpreter").write_text(interpreter + os.linesep)
        sync(temporary)
        try:
            temporary.rename(final)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            # Somebody else put the same tree there; only its interpreter may have gone since.
            (temporary / "interpreter").replace(final / "interpreter")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    before = link_target(root / "current")
    if before != name:
        if before:
            swap_link(root / "previous", before)
        swap_link(root / "current", name)
    remove_old(root, {name, before, link_target(root / "previous")})


def main() -> None:
    root, name, interpreter = sys.argv[1:]
    os.umask(0o022)
    size, digest = read_exactly(HEADER).split()
    archive = read_exactly(int(size))
    if hashlib.sha256(archive).hexdigest().encode() != digest:
        fail("bundle-damaged", "the agent arrived damaged", "its SHA-256 differs")
    try:
        install(Path(root), name, archive, interpreter)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = f"make room on the host: df -h {Path(root).parent} says how much there is" if full else ""
        why = f"{error.filename or root}: {error.strerror}"
        fail("disk-full" if full else "install-failed", "the agent can not be installed", why, hint)


if __name__ == "__main__":
    main()
