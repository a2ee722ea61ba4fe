"""Entries of `docker context`: made, refreshed and removed by us, read and changed by the real docker client."""

from __future__ import annotations

import dataclasses
import json
import shutil
import stat
import subprocess
import time

import pytest

from machinectl.actions import context as contexts
from machinectl.actions.converge import server_names
from machinectl.actions.regenerate import new_client
from machinectl.cli.main import main
from machinectl.errors import MachinectlError, StoreError
from machinectl.model import Machine, SshAddress
from machinectl.pki.authority import ensure_authority
from machinectl.pki.leaves import ensure_server
from machinectl.store.docker_contexts import docker_folder
from machinectl.store.store import Store

pytestmark = pytest.mark.skipif(not shutil.which("docker"), reason="needs the docker client")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "docker config"
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def add(store, name, ip="198.18.0.11"):
    machine = Machine(name, ip, SshAddress(ip), state="ready")
    store.save(machine)
    with store.lock():
        ensure_server(ensure_authority(store.certs), store.folder(name), server_names(machine))
    return machine


def docker(*words, check=True):
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False, timeout=60)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout if check else done.stdout + done.stderr


def shown(name):
    return json.loads(docker("context", "inspect", name))[0]


def test_docker_sees_it_as_one_of_its_own(store, folder):
    machine = add(store, "node1")
    assert contexts.add_context(store, machine)
    assert not contexts.add_context(store, machine), "the second time there is nothing to do"
    assert docker(
        "context", "ls", "--format", "{{.Name}} {{.DockerEndpoint}} {{.Description}}"
    ).splitlines() == [
        "default unix:///var/run/docker.sock Current DOCKER_HOST based configuration",
        "node1 tcp://198.18.0.11:2376 node1, by machinectl",
    ]
    found = shown("node1")
    assert found["Endpoints"]["docker"] == {"Host": "tcp://198.18.0.11:2376", "SkipTLSVerify": False}
    assert sorted(found["TLSMaterial"]["docker"]) == ["ca.pem", "cert.pem", "key.pem"]
    keys = folder / "contexts/tls"
    for path in keys.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    copied = next(keys.rglob("key.pem"))
    assert copied.read_bytes() == (store.folder("node1") / "key.pem").read_bytes()


@pytest.mark.parametrize("ip", ["2001:db8::7", "docker.example.com"])
def test_addresses_of_every_kind(store, ip):
    machine = add(store, "node1", ip)
    contexts.add_context(store, machine)
    assert shown("node1")["Endpoints"]["docker"]["Host"] == machine.url


def test_a_refresh_takes_the_address_and_the_certificates_and_keeps_what_the_user_said(store):
    machine = add(store, "node1")
    contexts.add_context(store, machine, "production")
    docker("context", "update", "--description", "don't touch", "production")
    assert contexts.refresh_context(store, machine) == []
    moved = dataclasses.replace(machine, ip="198.18.0.99")
    with store.lock():
        ensure_server(ensure_authority(store.certs), store.folder("node1"), server_names(moved), new_key=True)
    assert contexts.refresh_context(store, moved) == ["production"]
    found = shown("production")
    assert found["Metadata"]["Description"] == "don't touch"
    assert found["Endpoints"]["docker"]["Host"] == "tcp://198.18.0.99:2376"
    assert contexts.refresh_context(store, add(store, "node2", "198.18.0.12")) == []


def test_a_users_own_context_is_never_overwritten_nor_removed(store, folder):
    machine = add(store, "node1")
    docker("context", "create", "node1", "--docker", "host=tcp://192.0.2.1:2375")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(StoreError, match="not machinectl's"):
        contexts.add_context(store, machine)
    assert contexts.refresh_context(store, machine) == []
    assert contexts.remove_contexts(store, "node1") == {}
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_two_stores_with_a_machine_of_the_same_name(store, tmp_path):
    contexts.add_context(store, add(store, "node1"))
    other = Store(tmp_path / "other")
    theirs = add(other, "node1", "198.18.0.12")
    with pytest.raises(StoreError, match="is that of the machine node1 of the store"):
        contexts.add_context(other, theirs)
    contexts.add_context(other, theirs, "theirs")
    assert contexts.remove_contexts(store, "node1") == {"node1": False}
    assert docker("context", "ls", "-q").split() == ["default", "theirs"]


def test_what_a_moved_store_left_is_taken_over(store, tmp_path):
    contexts.add_context(store, add(store, "node1"))
    store.path.rename(tmp_path / "moved")
    moved = Store(tmp_path / "moved")
    assert contexts.add_context(moved, moved.load("node1"))
    assert [one.name for one in contexts.contexts_of(moved)] == ["node1"]


@pytest.mark.parametrize("name", ["default", "a"])
def test_names_that_docker_does_not_take(store, name):
    machine = add(store, name)
    with pytest.raises(MachinectlError, match="no docker context can be called"):
        contexts.add_context(store, machine)
    assert contexts.add_context(store, machine, "mine")


def test_damage_in_dockers_folder_is_somebody_elses(store, folder):
    machine = add(store, "node1")
    contexts.add_context(store, machine)
    for content in (b"", b"[]", b'{"Name": 1}', b"\xff", b'{"Metadata": {"machinectl": 3}}', b"null"):
        other = folder / "contexts/meta" / ("0" * 64)
        other.mkdir(exist_ok=True)
        (other / "meta.json").write_bytes(content)
        assert [one.name for one in contexts.contexts_of(store)] == ["node1"]
        next(folder.glob("contexts/meta/*/meta.json")).stat()
    shutil.rmtree(folder / "contexts/tls")
    assert contexts.refresh_context(store, machine) == ["node1"]
    assert sorted(shown("node1")["TLSMaterial"]["docker"]) == ["ca.pem", "cert.pem", "key.pem"]


def test_what_a_killed_writer_left_is_swept(store, folder):
    machine = add(store, "node1")
    contexts.add_context(store, machine)
    keys = next((folder / "contexts/tls").rglob("key.pem")).parent
    (keys / ".tmp-0123456789abcdef").write_bytes(b"half")
    (keys / "cert.pem").unlink()
    assert contexts.refresh_context(store, machine) == ["node1"]
    assert sorted(path.name for path in keys.iterdir()) == ["ca.pem", "cert.pem", "key.pem"]


def test_removing_the_one_in_use(store, folder, tmp_path):
    contexts.add_context(store, add(store, "node1"))
    docker("context", "use", "node1")
    settings = tmp_path / "dotfiles.json"
    (folder / "config.json").rename(settings)
    document = {**json.loads(settings.read_text()), "psFormat": "é {{.ID}}"}
    settings.write_text(json.dumps(document))
    (folder / "config.json").symlink_to(settings)
    assert contexts.remove_contexts(store, "node1") == {"node1": True}
    assert (folder / "config.json").is_symlink()
    del document["currentContext"]
    assert json.loads(settings.read_text()) == document
    assert docker("context", "show").strip() == "default"
    assert list((folder / "contexts").rglob("*.*")) == [], "nothing is left of it"


def test_the_command(store, folder, capsys):
    add(store, "node1"), add(store, "node2", "198.18.0.12")
    at = ["-s", str(store.path), "context"]
    assert main([*at, "add", "node1", "node2"]) == 0
    assert capsys.readouterr().out.split() == ["node1", "node2"]
    docker("context", "use", "node2")
    assert main([*at, "ls"]) == 0
    assert capsys.readouterr().out == (
        "NAME      MACHINE   HOST\nnode1     node1     tcp://198.18.0.11:2376\nnode2 *   node2     tcp://198.18.0.12:2376\n"
    )
    assert main([*at, "ls", "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[1] == {
        "name": "node2",
        "machine": "node2",
        "host": "tcp://198.18.0.12:2376",
        "current": True,
    }
    assert main([*at, "rm", "node2", "nobody"]) == 3
    printed = capsys.readouterr()
    assert printed.out == "node2\n"
    assert "was in use" in printed.err
    assert '"nobody" does not exist' in printed.err
    assert main(["-s", str(store.path), "rm", "-y", "node1"]) == 0
    assert contexts.contexts_of(store) == []
    assert main([*at, "add", "--context-name", "x1", "a", "b"]) == 2


def test_a_new_client_certificate_is_in_all_contexts(store):
    for name, ip in (("node1", "198.18.0.11"), ("node2", "198.18.0.12")):
        contexts.add_context(store, add(store, name, ip))
    new_client(store)
    wanted = (store.certs / "key.pem").read_bytes()
    assert [one.tls[2] == wanted for one in contexts.contexts_of(store)] == [True, True]


def test_a_store_behind_a_link_is_the_same_store(store, tmp_path):
    machine = add(store, "node1")
    contexts.add_context(store, machine)
    (tmp_path / "link").symlink_to(store.path)
    linked = Store(tmp_path / "link")
    assert not contexts.add_context(linked, machine)
    assert [one.name for one in contexts.contexts_of(linked)] == ["node1"]


def test_without_certificates(store):
    machine = Machine("node1", "198.18.0.11", SshAddress("198.18.0.11"))
    store.save(machine)
    with pytest.raises(StoreError, match="no certificates"):
        contexts.add_context(store, machine)
    assert docker("context", "ls", "-q").split() == ["default"]


def test_a_file_in_the_folders_place(store, folder):
    machine = add(store, "node1")
    folder.write_text("")
    with pytest.raises(StoreError):
        contexts.add_context(store, machine)


def test_dockers_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DOCKER_CONFIG")
    assert docker_folder() == tmp_path / ".docker"


def test_it_is_not_slower_than_docker_itself(store):
    machine = add(store, "node1")
    contexts.add_context(store, machine)
    best = 1.0
    for _ in range(5):
        started = time.perf_counter()
        contexts.refresh_context(store, machine)
        best = min(best, time.perf_counter() - started)
    assert best < 0.05
