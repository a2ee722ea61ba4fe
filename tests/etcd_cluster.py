"""Real etcd processes on loopback for tests: one member or several, plain or with mutual TLS.

    with EtcdCluster(tmp_path / "etcd") as cluster:                      # one member, plain http
    with EtcdCluster(tmp_path / "etcd", members=3, tls=True) as cluster:

Members can be killed, frozen and brought back; the data stay in the folder. With TLS every member wants a
client certificate of the cluster's own CA, which machinectl.pki makes.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from machinectl.pki.authority import ensure_authority
from machinectl.pki.leaves import ensure_server
from tests.frozen import freeze
from tests.ports import free_ports
from tests.waiting import until

ETCD = shutil.which("etcd")
ETCDCTL = shutil.which("etcdctl")


@dataclass(frozen=True)
class Files:
    """PEM files of a client."""

    ca: str
    cert: str
    key: str


class EtcdCluster:
    """Starts with `with` or `start()`; skips the test where etcd is not installed."""

    def __init__(self, folder: Path, *, members: int = 1, tls: bool = False, arguments: tuple[str, ...] = ()):
        if not ETCD or not ETCDCTL:
            pytest.skip("etcd is not installed (packages etcd-server and etcd-client)")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.arguments = arguments
        self.scheme = "https" if tls else "http"
        self.ports = free_ports(2 * members)
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self.files: Files | None = None
        if tls:
            (folder / "certs").mkdir()
            (folder / "server").mkdir()
            authority = ensure_authority(folder / "certs")
            made = ensure_server(authority, folder / "server", ["127.0.0.1"])
            self.server_files = Files(str(made.ca), str(made.server), str(made.server_key))
            self.files = Files(str(made.ca), str(made.cert), str(made.key))

    @property
    def members(self) -> range:
        return range(len(self.ports) // 2)

    @property
    def endpoints(self) -> list[str]:
        """Client URLs, in the order of the members."""
        return [self.client_url(one) for one in self.members]

    def client_url(self, member: int) -> str:
        return f"{self.scheme}://127.0.0.1:{self.ports[2 * member]}"

    def peer_url(self, member: int) -> str:
        return f"{self.scheme}://127.0.0.1:{self.ports[2 * member + 1]}"

    def log(self, member: int = 0) -> str:
        return (self.folder / f"m{member}.log").read_text(errors="replace")

    def __enter__(self) -> EtcdCluster:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> EtcdCluster:
        """All members that don't run; returns when each of them answers as part of a majority."""
        for one in self.members:
            if one not in self.processes:
                self.launch(one)
        for one in self.members:
            self.wait(one)
        return self

    def launch(self, member: int, *, state: str = "new") -> None:
        """One member, without waiting for it. `state`: `existing` where it joins a running cluster."""
        cluster = ",".join(f"m{one}={self.peer_url(one)}" for one in self.members)
        client, peer = self.client_url(member), self.peer_url(member)
        command = [
            *(str(ETCD), f"--name=m{member}", f"--data-dir={self.folder}/m{member}"),
            *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}"),
            *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"),
            *(f"--initial-cluster={cluster}", f"--initial-cluster-state={state}"),
            # a killed process loses nothing without fsync, only a killed kernel does
            *("--heartbeat-interval=50", "--election-timeout=500", "--unsafe-no-fsync"),
            *self.arguments,
        ]
        if self.files:
            ca, cert, key = self.server_files.ca, self.server_files.cert, self.server_files.key
            command += ["--client-cert-auth", f"--trusted-ca-file={ca}", f"--cert-file={cert}"]
            command += ["--peer-client-cert-auth", f"--peer-trusted-ca-file={ca}", f"--key-file={key}"]
            command += [f"--peer-cert-file={cert}", f"--peer-key-file={key}"]
        with (self.folder / f"m{member}.log").open("ab") as log:
            self.processes[member] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def wait(self, member: int = 0, seconds: float = 30) -> None:
        """Until the member answers a linearizable read: it is up and there is a leader."""
        end = time.monotonic() + seconds
        while True:
            assert self.processes[member].poll() is None, self.log(member)[-3000:]
            asked = self._etcdctl(member, "get", "x", "--command-timeout=2s", check=False)
            if asked.returncode == 0:
                return
            assert time.monotonic() < end, f"{asked.stderr}\n{self.log(member)[-3000:]}"
            time.sleep(0.05)

    def kill(self, member: int = 0) -> None:
        """SIGKILL."""
        process = self.processes.pop(member)
        process.kill()
        process.wait(10)

    def freeze(self, member: int = 0) -> None:
        """SIGSTOP: the kernel still takes connections for it, nobody answers."""
        freeze(self.processes[member].pid)

    def thaw(self, member: int = 0) -> None:
        os.kill(self.processes[member].pid, signal.SIGCONT)

    def forget(self, member: int) -> None:
        """Deletes the data of a member that does not run."""
        shutil.rmtree(self.folder / f"m{member}", ignore_errors=True)

    def stop(self) -> None:
        """Kills all that run."""
        for one in list(self.processes):
            self.kill(one)

    def etcdctl(self, *words: str, member: int = 0) -> str:
        """stdout of etcdctl, asked of one member."""
        return self._etcdctl(member, *words).stdout

    def put(self, key: str, value: str, member: int = 0) -> None:
        """By somebody else than the client that is tested."""
        self.etcdctl("put", key, value, member=member)

    def compact(self, *, physical: bool = False) -> None:
        """Forgets all revisions but the present one; `physical`: and has done it on disk when it returns."""
        revision = int(self.etcdctl("get", "x", "-w", "fields").split('"Revision" : ')[1].split()[0])
        self.etcdctl("compact", str(revision), *["--physical"][: int(physical)])

    def leader(self) -> int:
        """Number of the member that leads, as soon as one does."""
        return int(until(lambda: [one for one in self.processes if self._leads(one)])[0])

    def _leads(self, member: int) -> bool:
        try:
            fields = self.etcdctl("endpoint", "status", "-w", "fields", member=member)
        except subprocess.CalledProcessError:
            return False
        found = dict(line.split(" : ", 1) for line in fields.splitlines() if " : " in line)
        return found['"MemberID"'] == found['"Leader"']

    def save(self, path: Path) -> None:
        """A snapshot of the whole store."""
        self.etcdctl("snapshot", "save", str(path))

    def restore(self, path: Path) -> None:
        """Stops everything and starts all members from the snapshot."""
        self.stop()
        cluster = ",".join(f"m{one}={self.peer_url(one)}" for one in self.members)
        for one in self.members:
            self.forget(one)
            words = ["snapshot", "restore", str(path), f"--name=m{one}", f"--data-dir={self.folder}/m{one}"]
            words += [f"--initial-cluster={cluster}", f"--initial-advertise-peer-urls={self.peer_url(one)}"]
            self._etcdctl(one, *words)
        self.start()

    def _etcdctl(self, member: int, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        options = [f"--endpoints={self.client_url(member)}"]
        if self.files:
            options += [f"--cacert={self.files.ca}", f"--cert={self.files.cert}", f"--key={self.files.key}"]
        return subprocess.run(
            [str(ETCDCTL), *options, *words],
            env={**os.environ, "ETCDCTL_API": "3"},
            check=check,
            capture_output=True,
            text=True,
            timeout=30,
        )
