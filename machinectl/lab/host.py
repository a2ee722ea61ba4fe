"""One host of the lab: its folder, its processes, its mounts."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from machinectl.errors import LabError
from machinectl.lab.settings import Settings
from machinectl.lab.state import HostRecord
from machinectl.lab.tools import PATH, call

BOOT_DEADLINE = 180.0
CGROUPS = "/sys/fs/cgroup"
PF_EXITING = 0x4
"""Of the kernel's task flags: killed, and on its way out with all that is in its pid namespace."""
KEEPER = Path(__file__).with_name("keeper.sh")


class Host:
    """A systemd host in namespaces of its own. Its files survive a reboot and a power cut."""

    def __init__(self, settings: Settings, record: HostRecord) -> None:
        self.settings = settings
        self.record = record
        self.name = record.name
        self.ip = record.ip
        self.suite = record.suite
        self.folder = settings.state / "hosts" / record.name
        self.root = self.folder / "root"
        self.cgroup = f"{settings.table}/{record.name}"
        self.machine = f"{settings.bridge}-{record.name}"
        """systemd's name for it; two labs may have hosts of the same name."""
        self.key = settings.key

    @property
    def keeper(self) -> int:
        """The keeper's pid, 0 when it does not run; known by its command line, as pids are used again."""
        try:
            pid = int((self.folder / "keeper.pid").read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return 0
        return pid if self.cgroup.encode() in words else 0

    @property
    def leader(self) -> int:
        """The pid of the host's process 1, seen from here; 0 when the host is down."""
        for nspawn in _children(self.keeper):
            for child in _children(nspawn):
                with contextlib.suppress(OSError):
                    # proc_pid_stat(5): pid (comm) state ppid pgrp session tty tpgid flags …
                    before, _, after = Path(f"/proc/{child}/stat").read_text().rpartition(") ")
                    comm, flags = before.partition("(")[2], int(after.split()[6])
                    if comm in ("systemd", "init") and not flags & PF_EXITING:
                        return child
        return 0

    @property
    def running(self) -> bool:
        return self.leader != 0

    def boot(self, image: Sequence[Path]) -> None:
        """Mounts, starts the keeper, returns when sshd answers. Raises `LabError` with the console's end."""
        self.power_cut()  # a host whose keeper was killed still runs, and would hold its folders and address
        self.mount(image)
        environment = {"PATH": PATH, "SYSTEMD_SECCOMP": "0", "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "1"}
        environment["SYSTEMD_NSPAWN_UNIFIED_HIERARCHY"] = "1" if self.record.cgroup == "v2" else "0"
        with (self.folder / "console.log").open("ab") as console:
            keeper = subprocess.Popen(
                ["sh", str(KEEPER), self.cgroup, *self._nspawn_words()],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=environment,
                start_new_session=True,
            )
        (self.folder / "keeper.pid").write_text(f"{keeper.pid}\n")
        self.wait_for_ssh()

    def wait_for_ssh(self, deadline: float = BOOT_DEADLINE) -> None:
        """Until sshd shows its banner. Raises `LabError`."""
        end = time.monotonic() + deadline
        while time.monotonic() < end:
            with (
                contextlib.suppress(OSError),
                socket.create_connection((self.ip, 22), timeout=1) as connection,
            ):
                if connection.recv(4) == b"SSH-":
                    return
            if not self.keeper:
                break
            time.sleep(0.05)
        console = (self.folder / "console.log").read_text(errors="replace").splitlines()[-5:]
        raise LabError(f"{self.name} does not boot", why=" / ".join(console) or "its console is empty")

    def wait_for_reboot(self, before: int, deadline: float = BOOT_DEADLINE) -> None:
        """Until another process 1 than `before` runs and sshd answers. Raises `LabError`."""
        end = time.monotonic() + deadline
        while self.leader in (0, before):
            if time.monotonic() > end:
                raise LabError(f"{self.name} did not go down within {deadline:.0f} s")
            time.sleep(0.02)
        self.wait_for_ssh(deadline)

    def run(
        self, command: str, *, deadline: float = 600.0, check: bool = True, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """A shell command inside, as root, without SSH: a look that depends on nothing under test."""
        words = ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"]
        return call([*words, "sh", "-c", command], deadline=deadline, check=check, stdin=stdin)

    def power_cut(self) -> None:
        """SIGKILL to everything, as when the plug is pulled. Files stay as the kernel has them."""
        leader, keeper = self.leader, self.keeper
        if keeper:
            os.kill(keeper, signal.SIGKILL)
        nspawns = _processes_of(self.cgroup)
        for pid in {leader, *nspawns} - {0}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _wait_gone({leader, keeper, *nspawns} - {0})
        with contextlib.suppress(ChildProcessError):
            os.waitpid(keeper, os.WNOHANG) if keeper else None
        self._clear_leftovers()

    def delete(self) -> None:
        """Everything of the host: processes, mounts, cgroups, files."""
        self.power_cut()
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _nspawn_words(self) -> list[str]:
        return [
            "-D", str(self.root), "-M", self.machine, f"--hostname={self.name}",
            "--register=no", "--keep-unit", "--boot", "--quiet", "--capability=all", "--console=pipe",
            f"--network-bridge={self.settings.bridge}", "--resolv-conf=off",
            # overlay2 can't sit on an overlay mount: what the engine keeps is on the plain file system
            f"--bind={self.folder}/docker:/var/lib/docker",
            f"--bind={self.folder}/containerd:/var/lib/containerd",
            "--bind=/dev/net/tun",
            *(["--bind=/dev/fuse"] if Path("/dev/fuse").exists() else []),
        ]  # fmt: skip

    def mount(self, image: Sequence[Path]) -> None:
        """The host's root: its own changes above, the image's layers below, the uppermost first. Nothing where it is
        mounted already."""
        for name in ("root", "upper", "work", "docker", "containerd"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        if not os.path.ismount(self.root):
            options = f"lowerdir={':'.join(map(str, image))},upperdir={self.folder}/upper,workdir={self.folder}/work"
            call(["mount", "-t", "overlay", "machinectl-lab", "-o", options, str(self.root)])

    def _clear_leftovers(self) -> None:
        """What a crash of the keeper or of the machine left: mounts and cgroups (its processes are gone)."""
        # a connection that was cut keeps the host's network namespace for minutes, and the link with it; `ip` takes
        # the name also where nspawn has shortened it
        call(["ip", "link", "delete", f"vb-{self.machine}"], check=False)
        # nspawn leaves it where /run is not a tmpfs
        with contextlib.suppress(OSError):
            Path("/run/systemd/nspawn/propagate", self.machine).rmdir()
        while os.path.ismount(self.root):
            if call(["umount", str(self.root)], check=False).returncode != 0:
                call(["umount", "-l", str(self.root)])
        for hierarchy in _hierarchies():
            group = hierarchy / self.cgroup
            for path in sorted(group.rglob("*"), reverse=True) if group.is_dir() else ():
                if path.is_dir():
                    _remove_group(path)
            _remove_group(group)


def remove_cgroups(settings: Settings) -> None:
    """The lab's own level above its hosts'."""
    for hierarchy in _hierarchies():
        _remove_group(hierarchy / settings.table)


def _hierarchies() -> list[Path]:
    """Where cgroup file systems are mounted: one on newer systems, several on hybrid ones; as in keeper.sh."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return [
        Path(where)
        for _, where, kind, *_ in mounts
        if kind.startswith("cgroup") and where.startswith(CGROUPS)
    ]


def _remove_group(path: Path) -> None:
    """A cgroup can be removed once its last process has been reaped, which the kernel does soon after."""
    end = time.monotonic() + 5
    while path.is_dir() and time.monotonic() < end:
        try:
            path.rmdir()
        except OSError:
            time.sleep(0.02)


def _children(pid: int) -> Iterator[int]:
    if pid:
        with contextlib.suppress(OSError):
            yield from map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def _processes_of(cgroup: str) -> set[int]:
    found: set[int] = set()
    for hierarchy in _hierarchies():
        for path in (hierarchy / cgroup).rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                found.update(map(int, path.read_text().split()))
    return found


def _wait_gone(pids: set[int], deadline: float = 20.0) -> None:
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        alive = False
        for pid in pids:
            with contextlib.suppress(OSError):
                alive = alive or ") Z " not in Path(f"/proc/{pid}/stat").read_text()
        if not alive:
            return
        time.sleep(0.02)
