"""`inventory export`: what it writes is an inventory that wants what the machines are, and holds no secret."""

from __future__ import annotations

import dataclasses

import pytest

from machinectl.actions.export_inventory import export_inventory
from machinectl.inventory.read import read_inventory
from machinectl.inventory.settings import wishes
from machinectl.model import Machine, SshAddress
from machinectl.store.store import Store

OPTIONS = {
    "registry-mirrors": ["https://mirror"],
    "labels": ["a=b", "rack={{x}}"],
    "log-driver": "json-file",
    "log-opts": {"max-size": "10m", "tag": "{{.Name}}/{{.ID}}"},
    "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 1024, "Hard": 2048}},
    "default-address-pools": [{"base": "10.10.0.0/16", "size": 24}],
    "live-restore": False,
    "mtu": 1400,
    "features": {"buildkit": True},
    "ip": "127.0.0.1",
    "of-a-newer-engine": [1, {"x": "yes"}],
}


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return Store(tmp_path / "store")


def add(store, **values):
    machine = Machine(**{"name": "m1", "ip": "10.0.0.1", "ssh": SshAddress("10.0.0.1"), **values})
    with store.lock(f"machine-{machine.name}"):
        store.save(machine)
    return machine


def test_what_is_written_is_read_again(store, tmp_path):
    ssh = SshAddress("gate.lan", port=2222, user="ops", key="machines/m1/id", jump="me@bastion")
    machine = add(
        store,
        ssh=ssh,
        ip="10.0.0.9",
        engine_port=2377,
        engine={"options": OPTIONS, "version": "26.10", "mirror": "https://mirror/docker"},
        host={
            "os": "debian",
            "hostname": "m1",
            "sysctl": {"net.core.somaxconn": "4096"},
            "packages": ["htop"],
        },
        tls_san=("a.example.com",),
        network={"state": "member", "vtep": "eth1"},
    )
    path = tmp_path / "hosts.yml"
    path.write_text(export_inventory(store))
    (wish,) = wishes(read_inventory([path]), ["m1"])
    assert wish.engine == machine.engine
    assert wish.ssh == dataclasses.replace(ssh, key=str(store.path / "machines/m1/id"))
    assert (wish.ip, wish.engine_port, wish.tls_san) == ("10.0.0.9", 2377, ("a.example.com",))
    assert wish.host == {**machine.host, "packages": ("htop",)}
    assert (wish.network, wish.advertise, wish.etcd, wish.context) == (True, "eth1", False, False)


def test_a_plain_machine_is_plain(store):
    add(store)
    assert export_inventory(store) == "all:\n  hosts:\n    m1:\n      ansible_host: 10.0.0.1\n"


def test_no_secret_is_written(store, tmp_path):
    add(
        store,
        engine={
            "env": {"HTTPS_PROXY": "http://me:s3cret@proxy"},
            "options": {
                "registry-mirrors": ["https://me:s3cret@mirror"],
                "log-opts": {"splunk-token": "s3cret", "max-size": "1m"},
            },
        },
        files=({"path": "/etc/token", "sha256": "0" * 64, "size": 6},),
    )
    text = export_inventory(store)
    assert "s3cret" not in text
    notes = [line for line in text.splitlines() if line.startswith("# m1: ")]
    for word in ("HTTPS_PROXY", "registry-mirrors", "log-opts.splunk-token", "/etc/token"):
        assert any(word in note for note in notes), (word, text)
    (tmp_path / "hosts.yml").write_text(text)
    (wish,) = wishes(read_inventory([tmp_path / "hosts.yml"]), ["m1"])
    assert wish.engine == {"options": {"log-opts": {"max-size": "1m"}}}
