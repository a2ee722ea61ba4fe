"""The store under real processes: many at once, and killed at any moment."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from machinectl.model import Machine, SshAddress
from machinectl.pki import certificates
from machinectl.pki.authority import ensure_authority
from machinectl.pki.leaves import ensure_server
from machinectl.store.store import Store

SPAWN = multiprocessing.get_context("spawn")


def create(path, name, barrier):
    """What create does to the store."""
    barrier.wait(300)
    store = Store(path)
    with store.machine_lock(name):
        with store.lock():
            ensure_server(ensure_authority(store.certs), store.folder(name), ["198.18.0.11", name])
        store.save(Machine(name, "198.18.0.11", SshAddress("198.18.0.11")))


def test_six_creates_on_an_empty_store_end_with_one_ca(tmp_path):
    path = tmp_path / "store"
    names = [f"node{number}" for number in range(1, 7)]
    barrier = SPAWN.Barrier(len(names))
    workers = [SPAWN.Process(target=create, args=(path, name, barrier)) for name in names]
    for one in workers:
        one.start()
    for one in workers:
        one.join(400)
    assert [one.exitcode for one in workers] == [0] * len(names)
    store = Store(path)
    assert store.names() == names
    ca = (store.certs / "ca.pem").read_bytes()
    client = (store.certs / "cert.pem").read_bytes()
    for name in names:
        folder = store.folder(name)
        assert (folder / "ca.pem").read_bytes() == ca
        assert (folder / "cert.pem").read_bytes() == client
        for certificate, key in (("cert", "key"), ("server", "server-key")):
            pair = [(folder / f"{one}.pem").read_bytes() for one in (key, certificate)]
            assert certificates.key_problem(*pair) == ""
    assert not list(path.rglob(".tmp-*"))


SAVE = """
import dataclasses, sys
from machinectl.model import Machine, SshAddress
from machinectl.store.store import Store
store = Store(sys.argv[1])
one = Machine("node1", "198.18.0.11", SshAddress("h"), os="a" * 20000)
print("ready", flush=True)
while True:
    for letter in "ab":
        store.save(dataclasses.replace(one, os=letter * 20000))
"""


def test_a_kill_at_any_moment_of_a_save_leaves_the_old_or_the_new_record(tmp_path):
    store = Store(tmp_path / "store")
    store.save(Machine("node1", "198.18.0.11", SshAddress("h"), os="a" * 20000))
    seed = random.SystemRandom().randrange(1 << 32)
    chance = random.Random(seed)  # noqa: S311 - when to kill, no secret
    for _ in range(25):
        with subprocess.Popen(
            [sys.executable, "-c", SAVE, str(store.path)], stdout=subprocess.PIPE, text=True
        ) as saving:
            assert saving.stdout is not None
            assert saving.stdout.readline() == "ready\n"
            time.sleep(chance.random() * 0.02)  # the moment of the kill is the test's input
            saving.send_signal(signal.SIGKILL)
        assert store.load("node1").os in ("a" * 20000, "b" * 20000), f"seed {seed}"
    fresh = Store(store.path)
    fresh.save(fresh.load("node1"))
    assert sorted(os.listdir(store.path / "machines" / "node1")) == ["config.json"]  # noqa: PTH208 - dot files too


REMOVE = """
import sys
from machinectl.store.store import Store
store = Store(sys.argv[1])
print("ready", flush=True)
store.remove("node1")
"""


def test_a_kill_at_any_moment_of_a_removal_leaves_all_or_nothing(tmp_path):
    store = Store(tmp_path / "store")
    chance = random.SystemRandom()
    for _ in range(15):
        store.save(Machine("node1", "198.18.0.11", SshAddress("h")))
        for number in range(200):
            (store.folder("node1") / f"file{number}").write_text("x")
        before = set((store.path / "machines" / "node1").iterdir())
        with subprocess.Popen(
            [sys.executable, "-c", REMOVE, str(store.path)], stdout=subprocess.PIPE, text=True
        ) as removing:
            assert removing.stdout is not None
            removing.stdout.readline()
            time.sleep(chance.random() * 0.004)  # the moment of the kill is the test's input
            removing.send_signal(signal.SIGKILL)
        folder = store.path / "machines" / "node1"
        assert store.names() in ([], ["node1"])
        if folder.exists():
            assert set(folder.iterdir()) == before
    store = Store(store.path)
    store.save(Machine("node2", "198.18.0.12", SshAddress("h")))
    left = {one.name for one in (store.path / "machines").iterdir()}
    assert left <= {"node1", "node2"}


COUNT = """
import dataclasses, sys
from machinectl.store.store import Store
store = Store(sys.argv[1])
for _ in range(20):
    with store.machine_lock("node1", wait=60):
        machine = store.load("node1")
        store.save(dataclasses.replace(machine, engine_port=machine.engine_port + 1))
"""


@pytest.mark.parametrize("workers", [4])
def test_no_update_is_lost_under_the_machines_lock(tmp_path, workers):
    store = Store(tmp_path / "store")
    store.save(Machine("node1", "198.18.0.11", SshAddress("h"), engine_port=0))
    running = [subprocess.Popen([sys.executable, "-c", COUNT, str(store.path)]) for _ in range(workers)]
    reads = 0
    while any(one.poll() is None for one in running):
        json.loads((store.path / "machines" / "node1" / "config.json").read_text())  # readers take no lock
        reads += 1
    assert [one.wait(60) for one in running] == [0] * workers
    assert store.load("node1").engine_port == 20 * workers
    assert reads > workers
    assert dataclasses.replace(store.load("node1"), engine_port=0).ip == "198.18.0.11"
