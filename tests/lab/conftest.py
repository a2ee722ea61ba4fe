"""Real hosts for tests, in a lab of their own, and the real command line."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from machinectl.lab.busybox import busybox_tar
from machinectl.lab.lab import HostWish, Lab
from machinectl.lab.settings import Settings
from machinectl.remote import keys

LABS = 8
"""Runs of the tests at the same time; each has its own lab."""


_lab: list[Lab] = []
"""This process's, once a test wants it: some need no host, and no root."""


def claim_settings():
    """The first lab that no other run of the tests uses; the lock is held until this process ends."""
    for number in range(LABS):
        lock = Path(f"/run/machinectl-test-lab-{number}.lock").open("w")  # noqa: SIM115 - held on purpose
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        state = Path(f"/var/lib/machinectl-lab-tests/{number}")
        return Settings(state, bridge=f"mctest{number}", subnet=f"198.18.{64 + number}.0/24"), lock
    raise AssertionError(f"{LABS} runs of the lab tests are under way on this machine")


@pytest.fixture(scope="session")
def lab():
    """An empty lab; what a killed run left is removed first."""
    settings, lock = claim_settings()
    lab = Lab(settings, print)
    lab.down()
    _lab.append(lab)
    yield lab
    lab.down()
    lock.close()


@pytest.fixture(scope="module", autouse=True)
def hosts_go():
    """With their module: what idle engines and agents cost would be taken from the tests that are still to come."""
    yield
    if _lab and _lab[0].hosts():
        _lab[0].down()
        keys._unlocked.clear()  # the next hosts' key is another one in the same file


@pytest.fixture(scope="session")
def make_host(lab):
    """`make_host(name, suite, …)` → a running host; the same name gives the same host."""

    def make(name, suite="bookworm", **more):
        return lab.up([HostWish(name, suite, **more)])[0]

    return make


@pytest.fixture(scope="session")
def busybox(lab):
    """The tar that `docker import` makes busybox:latest of."""
    return busybox_tar(lab.settings.cache)


class CommandLine:
    """`machinectl` as a person runs it, with a store and a home of its own."""

    def __init__(self, folder):
        self.store = folder / "store"
        self.home = folder / "home"
        self.home.mkdir(parents=True, exist_ok=True)
        self.env = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "MACHINECTL_STORAGE_PATH": str(self.store),
            "LC_ALL": "C.UTF-8",
        }

    def start(self, *words, **more):
        argv = [sys.executable, "-m", "machinectl", *map(str, words)]
        return subprocess.Popen(
            argv, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
        )

    def run(self, *words, check=True, timeout=600, start_new_session=False, **more):
        """stdout, stderr, returncode; fails the test with both where the command fails."""
        argv = [sys.executable, "-m", "machinectl", *map(str, words)]
        done = subprocess.run(
            argv,
            env={**self.env, **more},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            start_new_session=start_new_session,
        )
        assert not check or done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done

    def create(self, host, *words, **more):
        return self.run("create", "--ip", host.ip, "--ssh-key", host.key, *words, host.name, **more)

    def docker(self, name, *words, check=True, stdin=None, timeout=120):
        """The docker client, pointed at a machine by what `machinectl env` prints."""
        pointed = dict(self.env)
        for line in self.run("env", "--no-check", "--shell", "bash", name).stdout.splitlines():
            if line.startswith("export "):
                key, _, value = line.removeprefix("export ").partition("=")
                pointed[key] = value.strip('"')
        done = subprocess.run(
            ["docker", *words], env=pointed, input=stdin, capture_output=True, timeout=timeout, check=False
        )
        text = done.stdout.decode() + done.stderr.decode()
        assert not check or done.returncode == 0, f"docker {words}: {text}"
        return text.strip() if not check else done.stdout.decode().strip()

    def inspect(self, name):
        return json.loads(self.run("inspect", name).stdout)


@pytest.fixture(scope="session")
def new_controller(tmp_path_factory):
    """`new_controller()` → a command line with an empty store."""
    return lambda: CommandLine(tmp_path_factory.mktemp("controller"))


@pytest.fixture(scope="module")
def controller(new_controller):
    """The command line that a module's tests share; a host belongs to one store, and is the module's, too."""
    return new_controller()
