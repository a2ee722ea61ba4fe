"""The machine's files and commands: the only way in which phases and provisioners touch the host.

Files can be looked at below another root, which is how the tests run phases against a folder; commands
always run for real. Every command has a deadline, its own session and a fixed, English environment.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from machinectl_agent.problems import Problem

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""sudo and non-login shells often leave out sbin, where dockerd, modprobe and sysctl are."""

TAIL = 15
"""Lines of a failed command's output that an error shows."""


@dataclass(frozen=True)
class Completed:
    """A command that ended: its exit status and what it wrote."""

    status: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        return self.status == 0

    def tail(self, lines: int = TAIL) -> str:
        """The last lines of stderr, or of stdout where stderr is empty."""
        text = self.stderr.strip() or self.stdout.strip()
        return "\n".join(text.splitlines()[-lines:])


class Host:
    """One machine, seen from inside."""

    def __init__(self, root: str = "/") -> None:
        self.root = Path(root)

    def path(self, name: str) -> Path:
        """`name` is absolute as on the machine."""
        return self.root / name.lstrip("/")

    def exists(self, name: str) -> bool:
        return self.path(name).exists()

    def read(self, name: str) -> Optional[str]:
        """The file's text, or None where there is no such file."""
        try:
            return self.path(name).read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return None

    def mode(self, name: str) -> Optional[int]:
        """Permission bits, or None where there is no such file."""
        try:
            return self.path(name).stat().st_mode & 0o7777
        except (FileNotFoundError, NotADirectoryError):
            return None

    def names(self, folder: str, ending: str = "") -> List[str]:
        """Sorted names in a folder; none where it does not exist."""
        try:
            found = os.listdir(self.path(folder))  # noqa: PTH208 - names are wanted, not paths
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(name for name in found if name.endswith(ending))

    def write(self, name: str, text: str, mode: int = 0o644) -> None:
        """Atomic and durable: readers see the old text or the new one, also after a power cut."""
        self.place(name, text.encode(), mode)

    def place(self, name: str, content: bytes, mode: int, owner: Optional[Tuple[int, int]] = None) -> None:
        """The same for bytes, with user and group (numbers) where they are not the agent's own."""
        target = self.path(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        # a short name: the target's own may be as long as the file system allows
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                if owner is not None:
                    os.fchown(stream.fileno(), *owner)
                os.fchmod(stream.fileno(), mode)
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, target)  # noqa: PTH105 - both names are at hand as strings
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)  # noqa: PTH108
            raise
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def free(self, folder: str) -> int:
        """Bytes that root can still write below a folder; 0 also where no file can be made any more."""
        path = self.path(folder)
        while not path.exists():
            path = path.parent
        found = os.statvfs(path)
        return found.f_bfree * found.f_frsize if found.f_ffree or not found.f_files else 0

    def remove(self, name: str) -> None:
        """No error where it is gone already."""
        self.path(name).unlink(missing_ok=True)

    def make_folder(self, name: str, mode: int = 0o755) -> None:
        target = self.path(name)
        target.mkdir(parents=True, exist_ok=True)
        target.chmod(mode)

    def which(self, program: str) -> str:
        """The program's full path, or an empty string."""
        return shutil.which(program, path=SEARCH_PATH) or ""

    def run(
        self,
        *argv: str,
        deadline: float = 60.0,
        stdin: str = "",
        env: Optional[Mapping[str, str]] = None,
    ) -> Completed:
        """Runs to the end, whatever the exit status. Raises `Problem` where the program is missing
        (`command-missing`) or where `deadline` seconds have passed (`deadline`; its group is killed)."""
        try:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(env),
                start_new_session=True,
                text=True,
                errors="replace",
            )
        except FileNotFoundError as error:
            raise Problem(
                "command-missing", f"{argv[0]} is not on this host", hint=f"install {argv[0]}"
            ) from error
        with child, _group(child):
            try:
                out, err = child.communicate(stdin, timeout=deadline)
            except subprocess.TimeoutExpired as error:
                raise Problem(
                    "deadline",
                    f"`{_shown(argv)}` did not end within {deadline:.0f} s",
                    hint="look at the host's load, disk and network, then run the same command again",
                ) from error
        return Completed(child.returncode, out, err)

    def must(
        self,
        *argv: str,
        deadline: float = 60.0,
        stdin: str = "",
        env: Optional[Mapping[str, str]] = None,
        hint: str = "",
    ) -> str:
        """Like `run`, for commands that have to succeed: returns stdout, raises `Problem` `command-failed`
        with the command's last lines."""
        done = self.run(*argv, deadline=deadline, stdin=stdin, env=env)
        if not done.ok:
            raise Problem(
                "command-failed", f"`{_shown(argv)}` failed (exit {done.status})", why=done.tail(), hint=hint
            )
        return done.stdout


def _shown(argv: Sequence[str]) -> str:
    text = " ".join(argv)
    return text if len(text) <= 160 else text[:157] + "…"


def _environment(more: Optional[Mapping[str, str]]) -> Dict[str, str]:
    env = {"PATH": SEARCH_PATH, "LC_ALL": "C.UTF-8", "HOME": "/root", "TERM": "dumb"}
    for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        if name in os.environ:
            env[name] = os.environ[name]
    env.update(more or {})
    return env


@contextlib.contextmanager
def _group(child: subprocess.Popen[str]) -> Iterator[None]:
    """Kills the child's whole session when the body is left by an exception (a deadline, a signal)."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        # a grandchild that left the session may hold the pipes: close them instead of reading to the end
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()
        raise
