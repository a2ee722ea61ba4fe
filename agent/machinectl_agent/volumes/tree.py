"""GNU tar's stream of a folder: owners by number, links, attributes, ACLs, holes. The same tree, the same stream."""

from __future__ import annotations

import collections
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Callable, Deque, Iterator, List, cast

from machinectl_agent.files.pipes import widen
from machinectl_agent.host import Host
from machinectl_agent.problems import Problem
from machinectl_agent.volumes.tarball import Digest, Meter, NotTar

CHUNK = 512 * 1024
_KEPT = 12
"""Lines of tar's complaints."""

_WHOLE = ("--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls")

_SAME = (
    "--format=posix",
    # no process id, no times of reading: the digest is the tree's
    "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
    "--sort=name",
    "--sparse",
    "--sparse-version=0.0",  # the later ones write tar's process id into names
    "--blocking-factor=512",
)

_HARMLESS = ("time stamp", "socket ignored")
"""In what tar says of clocks that differ, and of sockets, which are nothing without their process."""

Beat = Callable[[], None]


def feed(meter: Meter, part: memoryview) -> None:
    """Raises `Problem` where it is no tar."""
    try:
        meter.feed(part)
    except NotTar as error:
        raise Problem("backup-damaged", "the stream is damaged", why=str(error)) from error


def check_tar(host: Host) -> None:
    """Raises `Problem` `tar-missing` where there is none, or another one than GNU's (busybox)."""
    found = host.which("tar")
    if not found or "GNU tar" not in host.run(found, "--version", deadline=20).stdout:
        raise Problem(
            "tar-missing",
            "GNU tar is not on this machine",
            why="only it keeps owners, attributes, ACLs and holes of files",
            hint="install the package tar there",
        )


def render_create(folder: str, *, selinux: bool, under: str = "") -> List[str]:
    """Pure. `under`: the names in the stream begin with it, links' targets don't."""
    words = ["tar", "--create", "--file=-", *_SAME, *_WHOLE, *(["--selinux"] if selinux else [])]
    if under:
        words.append(f"--transform=flags=rhS;s,^\\.,{under},")
    return [*words, f"--directory={folder}", "--", "."]


def render_extract(folder: str, *, selinux: bool) -> List[str]:
    """Pure."""
    words = [
        "tar",
        "--extract",
        "--file=-",
        "--preserve-permissions",
        "--same-owner",
        "--blocking-factor=512",
    ]
    return [*words, *_WHOLE, *(["--selinux"] if selinux else []), f"--directory={folder}"]


def has_selinux(host: Host) -> bool:
    return host.exists("/sys/fs/selinux/enforce")


def write_tree(
    folder: str,
    write: Callable[[memoryview], Any],
    *,
    live: bool,
    beat: Beat,
    log: Callable[[str], None],
    under: str = "",
) -> Digest:
    """The stream, given to `write` piece by piece. Raises `Problem` where tar fails, or where a file has changed
    meanwhile and it is not copied `live`."""
    meter = Meter()
    with _running(render_create(folder, selinux=has_selinux(Host()), under=under), "stdout") as tar:
        for part in pieces(cast(BinaryIO, tar.process.stdout)):
            feed(meter, part)
            write(part)
            beat()
        status = tar.wait()
    if status == 1 and live:
        log(f"warning: changed while it was copied: {tar.last()}")
    elif status == 1:
        raise Problem(
            "volume-changed",
            f"{folder} has changed while it was copied",
            why=tar.last(),
            hint="something beside the containers writes there: stop it, or take what comes with --live",
        )
    elif status:
        raise Problem("tar-failed", f"{folder} could not be read", why=tar.last())
    return meter.digest()


@contextmanager
def extracting(
    folder: str, log: Callable[[str], None], *, strict: bool = False
) -> Iterator[Callable[[memoryview], None]]:
    """`with extracting(folder, log) as write:`; at the end everything is there. Raises `Problem`."""
    with _running(render_extract(folder, selinux=has_selinux(Host())), "stdin") as tar:
        pipe = cast(BinaryIO, tar.process.stdin)

        def write(part: memoryview) -> None:
            try:
                while part:
                    part = part[pipe.write(part) :]
            except OSError:
                raise _not_extracted(tar) from None

        yield write
        try:
            pipe.close()
        except OSError:
            pass  # its status says why
        if tar.wait():
            raise _not_extracted(tar)
        lost = [line for line in tar.lines if not any(words in line for words in _HARMLESS)]
        if lost and strict:
            raise Problem(
                "copy-differs",
                "not all of the files could be made as they are",
                why="\n".join(lost[-4:]),
                hint="keep the source (--keep, clone), which only warns of it, or take another file system there",
            )
        for line in lost:
            log(f"warning: {line}")


def _not_extracted(tar: _Tar) -> Problem:
    tar.wait()
    why = tar.last()
    # a write of which only the first bytes had room is all that tar tells of some full disks
    if any(words in why for words in ("No space left", "Disk quota", "Wrote only")):
        return Problem(
            "disk-full",
            "the contents could not be written: no space left on the machine",
            why=why,
            hint="make room there (`df -h` and `df -i` say where), then run the same command again",
        )
    return Problem("tar-failed", "the contents could not be written", why=why)


def digest_tree(folder: str, beat: Beat = lambda: None) -> Digest:
    """Reads it all."""

    def nowhere(_: object) -> None:
        pass

    return write_tree(folder, nowhere, live=False, beat=beat, log=nowhere)


def pieces(stream: BinaryIO) -> Iterator[memoryview]:
    """What is there, as it comes; each piece is good until the next one."""
    buffer = memoryview(bytearray(CHUNK))
    while True:
        size = cast(Any, stream).readinto(buffer)
        if not size:
            return
        yield buffer[:size]


class _Tar:
    """A tar at work; its complaints are read as they come, or it would wait for us."""

    def __init__(self, words: List[str], pipe: str) -> None:
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE if pipe == "stdin" else subprocess.DEVNULL,
            stdout=subprocess.PIPE if pipe == "stdout" else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            bufsize=0,
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
        )
        self.lines: Deque[str] = collections.deque(maxlen=_KEPT)
        self._reader = threading.Thread(target=self._read, name="tar's words", daemon=True)
        self._reader.start()

    def wait(self) -> int:
        status = self.process.wait()
        self._reader.join()
        return status

    def last(self) -> str:
        """What it said, without the sentence that there was something."""
        told = [line for line in self.lines if "Exiting with failure status" not in line]
        return "\n".join(told[-4:]) or f"tar ended with status {self.process.returncode}"

    def _read(self) -> None:
        for line in cast(BinaryIO, self.process.stderr):
            self.lines.append(line.decode(errors="replace").rstrip()[:300])


@contextmanager
def _running(words: List[str], pipe: str) -> Iterator[_Tar]:
    tar = _Tar(words, pipe)
    widen(cast(BinaryIO, getattr(tar.process, pipe)).fileno())
    try:
        yield tar
    finally:
        if tar.process.poll() is None:
            tar.process.kill()
        tar.wait()
        for stream in (tar.process.stdin, tar.process.stdout, tar.process.stderr):
            if stream:
                try:
                    stream.close()
                except OSError:
                    pass  # a pipe whose reader is gone


def is_empty(folder: str) -> bool:
    """A new file system's own folder doesn't count."""
    return all(one.name == "lost+found" for one in Path(folder).iterdir())
