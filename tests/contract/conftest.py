"""Real sshds on loopback: own ports, host keys and authorized_keys, run by whoever runs the tests."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from machinectl.model import SshAddress
from machinectl.remote import keys as machine_keys
from machinectl.remote.become import Become
from machinectl.remote.connection import Connection, open_connection
from tests.ports import free_port
from tests.waiting import until

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "", *options: str) -> Path:
    path.unlink(missing_ok=True)
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", path.name, "-f", str(path), *options],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return path


class Sshd:
    """One server. `authorized` is its authorized_keys file; `port` stays over a restart."""

    def __init__(self, folder: Path, host_keys: tuple[str, ...] = ("ed25519",), *lines: str) -> None:
        folder.mkdir()
        self.folder = folder
        self.port = free_port()
        self.authorized = folder / "authorized_keys"
        self.authorized.touch()
        self.host_keys = host_keys
        self.lines = lines
        for kind in host_keys:
            make_key(folder / f"host_{kind}", kind)
        self.start()

    def start(self) -> None:
        config = self.folder / "sshd_config"
        settings = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            "ListenAddress ::1",
            *(f"HostKey {self.folder}/host_{kind}" for kind in self.host_keys),
            f"AuthorizedKeysFile {self.authorized}",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "StrictModes no",
            "PidFile none",
            "UseDNS no",
            "MaxStartups 100",
            *self.lines,
        ]
        if not any("SetEnv" in line for line in self.lines):
            settings.append("SetEnv SHLVL=3")  # bash then reads no ~/.bashrc, whose time is not ours
        config.write_text("\n".join(settings) + "\n")
        assert SSHD
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # sshd's own privilege separation folder
        self.process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(config)], stderr=(self.folder / "log").open("ab")
        )
        until(self._answers, pause=0.01)

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self.folder / "log").read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)

    def authorize(self, key: Path) -> None:
        with self.authorized.open("a") as file:
            file.write(Path(f"{key}.pub").read_text())

    def address(self, key: Path | str = "", **more: str) -> SshAddress:
        return SshAddress("127.0.0.1", self.port, getpass.getuser(), str(key), **more)


@pytest.fixture
def home(tmp_path: Path, monkeypatch) -> Path:
    """A person's empty home folder, without an agent and without unlocked keys of another test."""
    folder = tmp_path / "home"
    (folder / ".ssh").mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(machine_keys, "_unlocked", {})
    monkeypatch.setattr(machine_keys, "ask_passphrase", lambda _prompt: None)
    return folder


@pytest.fixture
def start_sshd(tmp_path, home):
    if SSHD is None:
        pytest.skip("sshd is not installed (package openssh-server)")
    running: list[Sshd] = []

    def start(name: str = "sshd", host_keys: tuple[str, ...] = ("ed25519",), *lines: str) -> Sshd:
        running.append(Sshd(tmp_path / name, host_keys, *lines))
        return running[-1]

    yield start
    for one in running:
        one.stop()


@pytest.fixture
def sshd(start_sshd) -> Sshd:
    """A server that takes the key `key` beside its folder."""
    server: Sshd = start_sshd()
    server.authorize(make_key(server.folder.parent / "key"))
    return server


@pytest.fixture
def key(sshd) -> Path:
    path: Path = sshd.folder.parent / "key"
    return path


@pytest.fixture
def known_hosts(tmp_path: Path) -> Path:
    return tmp_path / "store" / "known_hosts"


@pytest.fixture
def connect(known_hosts):
    """open_connection with the test's store."""

    def connect(address: SshAddress, **options) -> Connection:
        options.setdefault("become", Become("none"))
        return open_connection(address, machine="node1", known_hosts=known_hosts, **options)

    return connect


@pytest.fixture
def connection(sshd, key, connect) -> Iterator[Connection]:
    with connect(sshd.address(key)) as opened:
        yield opened


@pytest.fixture
def agent(tmp_path, home, monkeypatch):
    """A real ssh-agent; `agent(key, passphrase)` gives it a key."""
    path = tmp_path / "agent.sock"
    process = subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL, start_new_session=True
    )
    until(path.exists, pause=0.01)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(path))

    def add(key: Path, passphrase: str = "") -> None:
        asker = tmp_path / "askpass"
        asker.write_text(f"#!/bin/sh\necho '{passphrase}'\n")
        asker.chmod(0o700)
        environment = {
            **os.environ,
            "SSH_ASKPASS": str(asker),
            "SSH_ASKPASS_REQUIRE": "force",
            "DISPLAY": "x",
        }
        subprocess.run(["ssh-add", "-q", str(key)], check=True, env=environment, stdin=subprocess.DEVNULL)

    yield add
    process.terminate()
    process.wait(10)


@pytest.fixture
def silent_server():
    """Takes connections and says what it is told to, then nothing."""
    servers: list[socket.socket] = []

    def start(greeting: bytes | None = None, *, close: bool = False) -> int:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)
        held: list[socket.socket] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    if greeting:
                        client.sendall(greeting)
                    if close:
                        client.close()
                    else:
                        held.append(client)

        threading.Thread(target=serve, daemon=True).start()
        port: int = server.getsockname()[1]
        return port

    yield start
    for one in servers:
        one.shutdown(socket.SHUT_RDWR)
        one.close()
