"""The store's records: what is read, what is kept, what is refused and how."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import stat

import pytest

from machinectl.errors import LockedError, MachineNotFound, StoreError
from machinectl.model import CONFIG_VERSION, Machine, SshAddress
from machinectl.store import files, records
from machinectl.store.migrations import MIGRATIONS, migrate
from machinectl.store.paths import portable_path, resolved_path
from machinectl.store.store import Store

NODE = Machine(name="node1", ip="198.18.0.11", ssh=SshAddress(host="198.18.0.11", user="root"))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_machine_comes_back_as_it_was_saved(store):
    machine = dataclasses.replace(NODE, tls_san=("a.example",), engine={"options": {"mtu": 1400}})
    store.save(machine)
    assert store.load("node1") == machine
    assert store.names() == ["node1"]


def test_reading_a_store_that_is_not_there_makes_nothing(store):
    assert store.names() == []
    with pytest.raises(MachineNotFound, match=r'Docker machine "x" does not exist\. Use "machinectl ls"'):
        store.load("x")
    assert not store.path.exists()


@pytest.mark.parametrize("name", ["../x", "", ".", "..", "a/b", "-a", "a\n", "a b", ".removing-a"])
def test_what_is_no_name_never_becomes_a_path(store, name):
    with pytest.raises(MachineNotFound):
        store.load(name)
    with pytest.raises(StoreError):
        store.folder(name)
    with pytest.raises(MachineNotFound):
        store.remove(name)


def test_names_are_in_natural_order_and_half_made_folders_are_no_machines(store):
    for name in ("node10", "Node2", "node1"):
        store.save(dataclasses.replace(NODE, name=name))
    store.folder("killed")
    assert store.names() == ["node1", "Node2", "node10"]


@pytest.mark.parametrize(
    "content", [b"", b'{"config_vers', b"[]", b'{"config_version": 1}', b"\xff\xfe", b"null"]
)
def test_a_damaged_record_is_named_and_hides_no_other(store, content):
    store.save(NODE)
    store.save(dataclasses.replace(NODE, name="node2"))
    path = store.folder("node1") / "config.json"
    path.write_bytes(content)
    with pytest.raises(StoreError) as caught:
        store.load("node1")
    assert str(path) in str(caught.value)
    assert "rm -f node1" in str(caught.value) or "backup" in str(caught.value)
    assert store.names() == ["node1", "node2"]
    assert store.load("node2").name == "node2"


def test_a_record_with_wrong_types_is_damaged_not_a_crash(store):
    store.save(NODE)
    path = store.folder("node1") / "config.json"
    document = json.loads(path.read_text())
    document["tls_san"] = 7
    path.write_text(json.dumps(document))
    with pytest.raises(StoreError, match="damaged"):
        store.load("node1")


def test_keys_of_a_newer_minor_version_survive_a_save(store):
    store.save(NODE)
    path = store.folder("node1") / "config.json"
    document = json.loads(path.read_text())
    document["colour"] = "red"
    document["ssh"]["certificate"] = "c"
    path.write_text(json.dumps(document))
    store.save(dataclasses.replace(store.load("node1"), state="ready"))
    written = json.loads(path.read_text())
    assert (written["colour"], written["ssh"]["certificate"], written["state"]) == ("red", "c", "ready")


def test_a_newer_version_is_refused_and_never_overwritten(store):
    store.save(NODE)
    path = store.folder("node1") / "config.json"
    path.write_text('{"config_version": 99, "precious": true}')
    with pytest.raises(StoreError, match="newer machinectl"):
        store.load("node1")
    with pytest.raises(StoreError, match="newer machinectl"):
        store.save(NODE)
    assert "precious" in path.read_text()


def test_the_chain_of_migrations_ends_at_the_present_version():
    assert MIGRATIONS[-1][1] == records.CURRENT == CONFIG_VERSION
    assert [one[1] for one in MIGRATIONS[:-1]] == [one[0] for one in MIGRATIONS[1:]]


DOCKER_MACHINE = {
    "ConfigVersion": 3,
    "Driver": {
        "IPAddress": "192.168.205.10",
        "SSHUser": "vagrant",
        "SSHPort": 2222,
        "SSHKeyPath": "/home/u/.docker/machine/machines/node1/id_rsa",
        "EnginePort": 2376,
    },
    "DriverName": "generic",
    "HostOptions": {
        "EngineOptions": {"Labels": ["a=b"], "ArbitraryFlags": ["mtu=1400"], "Env": ["HTTP_PROXY=http://p"]},
        "AuthOptions": {"ServerCertSANs": ["docker.example"]},
    },
    "Name": "node1",
}


def test_docker_machines_own_record_is_read_and_kept_when_it_is_replaced(store):
    path = store.folder("node1") / "config.json"
    path.write_text(json.dumps(DOCKER_MACHINE))
    machine = store.load("node1")
    assert machine.url == "tcp://192.168.205.10:2376"
    assert machine.ssh == SshAddress("192.168.205.10", 2222, "vagrant", "machines/node1/id_rsa")
    assert machine.engine["options"] == {"labels": ["a=b"], "mtu": 1400}
    assert machine.tls_san == ("docker.example",)
    store.save(machine)
    assert store.load("node1") == machine
    assert json.loads(path.with_name("config.json.v0").read_text()) == DOCKER_MACHINE


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({**DOCKER_MACHINE, "DriverName": "virtualbox"}, "virtualbox"),
        ({**DOCKER_MACHINE, "Driver": {}}, "from version 0 to 1"),
        ({"a": 1}, "no config_version"),
        ({"config_version": True}, "no config_version"),
    ],
)
def test_what_can_not_be_migrated_says_why(document, named):
    with pytest.raises(StoreError) as caught:
        migrate(document, "config.json")
    assert named in str(caught.value)


def test_the_store_is_private_and_made_private_again(store):
    store.save(NODE)
    key = store.folder("node1") / "key.pem"
    key.write_text("k")
    key.chmod(0o644)
    (store.path / "machines").chmod(0o755)
    again = Store(store.path)
    again.folder("node1")
    _ = again.known_hosts
    assert mode(key) == 0o600
    for path in (store.path, *store.path.rglob("*")):
        assert mode(path) == (0o700 if path.is_dir() else 0o600), path


def test_a_top_folder_that_was_there_keeps_its_mode(tmp_path):
    top = tmp_path / "shared"
    top.mkdir(mode=0o755)
    top.chmod(0o755)
    Store(top).save(NODE)
    assert mode(top) == 0o755
    assert mode(top / "machines") == 0o700


def test_a_store_that_can_not_be_made_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="can't be used as a folder"):
        Store(tmp_path / "file" / "store").save(NODE)


def test_remove_takes_everything_and_only_that(store):
    store.save(NODE)
    store.save(dataclasses.replace(NODE, name="node2"))
    store.remove("node1")
    assert store.names() == ["node2"]
    assert [one.name for one in (store.path / "machines").iterdir()] == ["node2"]
    with pytest.raises(MachineNotFound):
        store.remove("node1")


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_writes_is_not(store):
    store.save(NODE)
    machines = store.path / "machines"
    (machines / ".removing-old-1234").mkdir()
    (machines / ".removing-old-1234" / "key.pem").write_text("k")
    (machines / "node1" / ".tmp-0011").write_text("half")
    living = machines / "node1" / ".tmp-2233"
    descriptor = os.open(living, os.O_RDWR | os.O_CREAT, 0o600)
    import fcntl  # noqa: PLC0415 - only here

    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert Store(store.path).names() == ["node1"]
    Store(store.path).save(NODE)
    os.close(descriptor)
    assert sorted(one.name for one in machines.rglob("*")) == [".tmp-2233", "config.json", "node1"]


def test_the_store_can_be_moved(store, tmp_path):
    store.save(dataclasses.replace(NODE, ssh=SshAddress("h", key=str(store.path / "machines/node1/id"))))
    moved = tmp_path / "elsewhere"
    store.path.rename(moved)
    machine = Store(moved).load("node1")
    assert resolved_path(machine.ssh.key, moved) == str(moved / "machines/node1/id")
    assert str(tmp_path) not in "".join(one.read_text() for one in moved.rglob("*.json"))


def test_key_paths_are_recorded_so_that_another_home_works(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    store = tmp_path / "home" / ".machinectl"
    assert portable_path(str(store / "id"), store) == "id"
    assert portable_path("home/.ssh/id", store) == "~/.ssh/id"
    assert portable_path("~/.ssh/id", store) == "~/.ssh/id"
    assert portable_path("keys/../id", store) == str(tmp_path / "id")
    assert portable_path("", store) == resolved_path("", store) == ""
    assert resolved_path("~/.ssh/id", store) == str(tmp_path / "home/.ssh/id")


def _hold(path, ready, leave):
    with Store(path).machine_lock("node1"):
        ready.set()
        leave.wait(120)


def test_a_machine_in_use_is_refused_with_its_holder_and_free_after_a_kill(store):
    store.save(NODE)
    spawn = multiprocessing.get_context("spawn")
    ready, leave = spawn.Event(), spawn.Event()
    holder = spawn.Process(target=_hold, args=(store.path, ready, leave))
    holder.start()
    try:
        assert ready.wait(120)
        with pytest.raises(LockedError, match="in use") as caught, store.machine_lock("node1"):
            pass
        assert caught.value.exit_status == 4
        assert f"process {holder.pid}" in caught.value.why
        with store.machine_lock("node2"):
            pass
        holder.kill()
        with store.machine_lock("node1", wait=10):
            pass
    finally:
        holder.kill()
        holder.join()


def test_write_atomic_leaves_no_trace_of_a_failed_write(tmp_path):
    target = tmp_path / "folder"
    target.mkdir()
    (target / "x").mkdir()  # a folder can't be replaced by a file
    with pytest.raises(StoreError, match="can't be written"):
        files.write_atomic(target / "x", b"new")
    assert [one.name for one in target.iterdir()] == ["x"]


def test_write_atomic_sets_exactly_the_asked_mode_whatever_the_umask(tmp_path):
    before = os.umask(0o277)
    try:
        files.write_atomic(tmp_path / "x", b"new", 0o640)
    finally:
        os.umask(before)
    assert mode(tmp_path / "x") == 0o640
