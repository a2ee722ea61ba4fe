"""`machinectl config`: docker-machine's meaning and the verbs side by side."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from machinectl.model import Machine, SshAddress
from machinectl.store.store import Store


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store")
    engine = {
        "options": {"registry-mirrors": ["https://a", "https://b"], "log-opts": {"splunk-token": "hunter2"}},
        "env": {"HTTP_PROXY": "http://u:hunter3@p"},
    }
    store.save(Machine("web", "127.0.0.1", SshAddress("127.0.0.1", 1), engine=engine, state="ready"))
    store.save(Machine("set", "127.0.0.2", SshAddress("127.0.0.2"), state="ready"))
    return store


@pytest.fixture
def call(store):
    def call(*words):
        command = [sys.executable, "-m", "machinectl", "-s", str(store.path), "config", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout, done.stderr

    return call


def test_docker_machines_meaning_goes_on(call, store):
    assert call("--no-check", "web")[1].startswith("--tlsverify\n")
    assert f"{store.path}/machines/set/ca.pem" in call("--no-check", "--", "set")[1]
    assert f"{store.path}/machines/set/ca.pem" in call("--no-check", "set")[1]
    assert call("set")[0] == 2
    assert "machinectl config -- set" in call("--help")[1]


def test_get(call):
    assert call("get", "web") == (
        0,
        'log-opts={"splunk-token": "(hidden)"}\nregistry-mirrors=["https://a", "https://b"]\nHTTP_PROXY=(hidden)\n',
        "",
    )
    assert call("get", "web", "registry-mirror") == (0, "https://a\nhttps://b\n", "")
    assert call("get", "web", "http-proxy")[1] == "http://u:hunter3@p\n"
    assert json.loads(call("get", "--output", "json", "web", "registry-mirrors")[1]) == [
        "https://a",
        "https://b",
    ]
    status, out, err = call("get", "web", "bip")
    assert (status, out, "bip is not set" in err) == (1, "", True)


def test_what_is_wrong_is_said_before_anything_is_reached(call, store):
    for words in (
        ["set", "web", "mtu=wide"],
        ["set", "web"],
        ["unset", "web", "mtu=1"],
        ["unset", "web", "regstry-mirror"],
    ):
        assert call(*words)[0] == 2, words
    assert call("set", "wex", "mtu=1")[0] == 1
    status, _, err = call("unset", "web", "bip", "NO_PROXY")
    assert (status, err) == (0, "web: nothing of it was set by machinectl\n")
    before = store.load("web")
    status, _, err = call("set", "web", "mtu=1400")  # the host is away
    assert status == 1
    assert store.load("web").engine == before.engine
