"""docker-machine's stores, of every version, taken over."""

from __future__ import annotations

import datetime
import json
import stat

import pytest

from machinectl.actions.import_docker_machine import import_docker_machine
from machinectl.errors import UsageError
from machinectl.model import Machine, SshAddress
from machinectl.pki.authority import ensure_authority
from machinectl.pki.foreign import ensure_machine
from machinectl.store.store import Store
from tests.docker_machine_store import LIFETIME, Certificates, add_machine, make_store


@pytest.fixture(scope="module")
def certificates():
    return Certificates()


@pytest.fixture
def theirs(tmp_path, certificates):
    return make_store(tmp_path / "docker machine", certificates)


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return Store(tmp_path / "store")


def only(outcomes):
    (one,) = outcomes
    assert one.error is None, one.error
    return one.result


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_every_version(store, theirs, certificates, version):
    folder = add_machine(
        theirs,
        certificates,
        "node1",
        "10.0.0.7",
        version=version,
        key=b"PRIVATE",
        SSHUser="vagrant",
        SSHPort=2222,
    )
    before = {path: path.read_bytes() for path in theirs.rglob("*") if path.is_file()}
    done = only(import_docker_machine(store, theirs, []))
    assert (done.authority, done.left, done.warning) == ("store", (), "")
    machine = store.load("node1")
    assert machine.ssh == SshAddress("10.0.0.7", 2222, "vagrant", "machines/node1/ssh_key")
    assert (machine.url, machine.state) == ("tcp://10.0.0.7:2376", "ready")
    ours = store.folder("node1")
    assert (ours / "ssh_key").read_bytes() == b"PRIVATE"
    assert stat.S_IMODE((ours / "ssh_key").stat().st_mode) == 0o600
    for name in ("ca.pem", "cert.pem", "key.pem", "server.pem", "server-key.pem"):
        assert (ours / name).read_bytes() == (folder / name).read_bytes()
    assert (store.certs / "ca-key.pem").read_bytes() == (theirs / "certs/ca-key.pem").read_bytes()
    assert {path: path.read_bytes() for path in theirs.rglob("*") if path.is_file()} == before
    # the CA is good for new certificates, and clients keep theirs
    made = ensure_machine(store.certs, ours, ("10.0.0.7", "node1"))
    assert made.reason == "made for another purpose"
    assert made.cert.read_bytes() == (folder / "cert.pem").read_bytes()


def test_engine_options(store, theirs, certificates):
    engine = {
        "ArbitraryFlags": ["icc=false", "mtu=1400", "log-opt=max-size=10m", "log-opt=max-file=3", "host=tcp://0:2375", "debug"],
        "Dns": ["10.0.0.1"], "Env": ["HTTP_PROXY=http://u:p=x@proxy"], "Labels": ["a=b"], "InsecureRegistry": ["r:5000"],
        "RegistryMirror": ["https://m"], "StorageDriver": "overlay2", "LogLevel": "warn", "Ipv6": True, "GraphDir": "/data",
    }  # fmt: skip
    add_machine(theirs, certificates, "node1", "10.0.0.7", engine=engine)
    done = only(import_docker_machine(store, theirs, ["node1"]))
    assert [one.split(" (")[0] for one in done.left] == ["--engine-opt host"]
    assert store.load("node1").engine == {
        "options": {
            "labels": ["a=b"], "insecure-registries": ["r:5000"], "registry-mirrors": ["https://m"], "dns": ["10.0.0.1"],
            "storage-driver": "overlay2", "log-level": "warn", "data-root": "/data", "ipv6": True, "icc": False,
            "mtu": 1400, "log-opts": {"max-size": "10m", "max-file": "3"}, "debug": True,
        },
        "env": {"HTTP_PROXY": "http://u:p=x@proxy"},
    }  # fmt: skip


def test_other_drivers_keep_their_machines(store, theirs, certificates):
    add_machine(
        theirs,
        certificates,
        "vb",
        "192.168.99.100",
        driver="virtualbox",
        key=b"K",
        SSHUser="docker",
        SSHPort=49160,
    )
    add_machine(
        theirs, certificates, "ec2", "54.1.2.3", driver="amazonec2", key=b"K", SSHUser="ubuntu", EnginePort=0
    )
    add_machine(theirs, certificates, "gone", "", driver="digitalocean")
    outcomes = {one.name: one for one in import_docker_machine(store, theirs, [])}
    assert store.load("vb").ssh == SshAddress("127.0.0.1", 49160, "docker", "machines/vb/ssh_key")
    assert store.load("vb").url == "tcp://192.168.99.100:2376"
    assert store.load("ec2").url == "tcp://54.1.2.3:2376"
    ec2 = outcomes["ec2"].result
    assert ec2 and "amazonec2" in ec2.left[0]
    assert "no address" in str(outcomes["gone"].error)
    assert store.names() == ["ec2", "vb"]


def test_keys_outside_and_keys_that_are_gone(store, theirs, certificates, tmp_path):
    key = tmp_path / "home/.ssh/id_x"
    key.parent.mkdir(parents=True)
    key.write_text("K")
    add_machine(theirs, certificates, "out", "10.0.0.1", SSHKeyPath=str(key))
    add_machine(theirs, certificates, "lost", "10.0.0.2", SSHKeyPath="/nowhere/id")
    add_machine(theirs, certificates, "agent", "10.0.0.3")
    lost = {one.name: one.result.left for one in import_docker_machine(store, theirs, []) if one.result}
    assert [store.load(name).ssh.key for name in ("out", "lost", "agent")] == ["~/.ssh/id_x", "", ""]
    assert lost["out"] == lost["agent"] == ()
    assert "/nowhere/id" in lost["lost"][0]


def test_into_a_store_with_a_ca_of_its_own(store, theirs, certificates):
    before = ensure_authority(store.certs).certificate
    add_machine(theirs, certificates, "node1", "10.0.0.7")
    assert only(import_docker_machine(store, theirs, [])).authority == "own"
    assert ensure_authority(store.certs).certificate == before
    made = ensure_machine(store.certs, store.folder("node1"), ("10.0.0.7", "node1"))
    assert made.ca.read_bytes() == (theirs / "certs/ca.pem").read_bytes()


def test_creates_in_parallel_left_two_cas(store, theirs, certificates):
    """The machine's folder has copies of one CA, its host knows another: what signed server.pem counts."""
    folder = add_machine(theirs, certificates, "node1", "10.0.0.7")
    other = Certificates()
    (folder / "ca.pem").write_bytes(other.pair()[0])
    assert only(import_docker_machine(store, theirs, [])).authority == "store"
    assert (store.folder("node1") / "ca.pem").read_bytes() == (theirs / "certs/ca.pem").read_bytes()
    second = add_machine(theirs, other, "node2", "10.0.0.8")
    (second / "ca.pem").write_bytes(other.pair()[0])
    (outcome,) = import_docker_machine(store, theirs, ["node2"])
    assert "no client certificate" in str(outcome.error)
    assert "--take-over node2" in str(outcome.error)
    for name, content in zip(("cert.pem", "key.pem"), other.leaf(), strict=True):
        (second / name).write_bytes(content)
    assert only(import_docker_machine(store, theirs, ["node2"])).authority == "own, no key"


def test_an_expired_ca_does_not_become_the_stores(store, tmp_path):
    old = Certificates(age=LIFETIME + datetime.timedelta(days=5))
    theirs = make_store(tmp_path / "old", old)
    add_machine(theirs, old, "node1", "10.0.0.7")
    done = only(import_docker_machine(store, theirs, []))
    assert done.authority == "own"
    assert "provision --take-over node1" in done.warning
    assert ensure_machine(store.certs, store.folder("node1"), ("10.0.0.7",), take_over=True).reason


def test_one_bad_machine_hides_no_other(store, theirs, certificates):
    add_machine(theirs, certificates, "good", "10.0.0.1")
    add_machine(theirs, certificates, "twice", "10.0.0.1")
    (add_machine(theirs, certificates, "bad", "10.0.0.2") / "config.json").write_text("{")
    newer = add_machine(theirs, certificates, "newer", "10.0.0.3") / "config.json"
    newer.write_text(json.dumps({**json.loads(newer.read_text()), "ConfigVersion": 4}))
    store.save(Machine("here", "10.0.0.9", SshAddress("10.0.0.9")))
    add_machine(theirs, certificates, "here", "10.0.0.4")
    errors = {one.name: str(one.error) for one in import_docker_machine(store, theirs, []) if one.error}
    assert sorted(errors) == ["bad", "here", "newer", "twice"]
    assert "damaged" in errors["bad"]
    assert 'already the machine "good"' in errors["twice"]
    assert store.names() == ["good", "here"]


def test_what_can_not_be_meant(store, theirs, certificates, tmp_path):
    with pytest.raises(UsageError, match="no docker-machine store"):
        import_docker_machine(store, tmp_path, [])
    add_machine(theirs, certificates, "node1", "10.0.0.1")
    with pytest.raises(UsageError, match="has no machine 'node2'"):
        import_docker_machine(store, theirs, ["node1", "node2"])
    assert store.names() == []
    with pytest.raises(UsageError, match="in use"):
        import_docker_machine(Store(theirs), theirs, [])
