"""`machinectl inventory`, the examples of inventories/, and rules that stand in two layers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from machinectl.cli.main import main
from machinectl.inventory import entries
from machinectl.inventory.read import read_inventory
from machinectl.inventory.settings import wishes
from machinectl.store.records import NAME
from machinectl_agent.phases import host_packages, sysctl

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(one for one in (ROOT / "inventories").iterdir() if one.suffix != ".md")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_valid(path, capsys):
    assert main(["inventory", "validate", "-i", str(path)]) == 0
    assert "no errors" in capsys.readouterr().out


def test_every_example_is_described():
    page = (ROOT / "inventories/README.md").read_text()
    assert [one.name for one in EXAMPLES if f"({one.name})" not in page] == []


def test_the_rack_is_what_its_files_say():
    inventory = read_inventory([ROOT / "inventories/rack"])
    found = {one.name: one for one in wishes(inventory, list(inventory.hosts))}
    assert list(found) == ["r1", "r2", "r3", "r4"]
    assert [name for name, one in found.items() if one.etcd] == ["r1", "r2", "r3"]
    assert [name for name, one in found.items() if one.network] == ["r3", "r4"]
    assert all(
        one.engine["options"]["registry-mirrors"] == ["http://mirror.rack:5000"] for one in found.values()
    )
    assert found["r4"].engine["options"]["labels"] == ["role=web", "disk=slow"]
    assert found["r3"].files[1].content == b"RACK=1\nNAME=r3\n"


def test_the_edge_is_behind_its_jump_host():
    inventory = read_inventory([ROOT / "inventories/edge.yml"])
    for one in wishes(inventory, list(inventory.hosts)):
        assert (one.ssh.jump, one.ssh.user) == ("ops@bastion.example.com", "ops")
        assert one.engine["env"]["HTTPS_PROXY"] == "http://proxy.example.com:3128"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """`run(*words)` → exit status, stdout, stderr; beside an inventory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MACHINECTL_INVENTORY", raising=False)
    (tmp_path / "inventory.ini").write_text("[web]\na x=1 token=s3cret\nb\n[db]\nc\n")

    def call(*words):
        status = main(["-s", str(tmp_path / "store"), "inventory", *words])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def test_list(run):
    status, out, _ = run("list")
    assert status == 0
    assert json.loads(out)["web"] == {"hosts": ["a", "b"]}
    found = json.loads(run("list", "web", "-l", "!b")[1])
    assert found == {
        "_meta": {"hostvars": {"a": {"x": 1, "token": "s3cret"}}},
        "all": {"children": ["ungrouped", "web", "db"]},
        "web": {"hosts": ["a"]},
    }


def test_graph(run):
    assert (
        run("graph")[1] == "@all:\n  |--@ungrouped:\n  |--@web:\n  |  |--a\n  |  |--b\n  |--@db:\n  |  |--c\n"
    )
    assert run("graph", "db")[1] == "@db:\n  |--c\n"
    status, _, err = run("graph", "a")
    assert (status, "there is no group 'a'" in err) == (2, True)
    assert run("graph", "web", "db")[0] == 2


def test_show(run):
    status, out, _ = run("show", "a")
    found = json.loads(out)
    assert (status, found["name"], found["groups"], found["wanted"]["ip"]) == (0, "a", ["web"], "a")
    assert "s3cret" not in out
    status, _, err = run("show")
    assert (status, "which host?" in err) == (2, True)
    assert run("show", "nope")[0] == 2


def test_validate(run, tmp_path):
    assert run("validate")[1] == "3 hosts, 2 groups, 0 files: no errors\n"
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/web.yml").write_text("machinectl: {labels: [x], mtux: 1}\n")
    status, _, err = run("validate")
    assert status == 2
    assert err.count("error: ") == 2
    assert "group_vars/web.yml:1: labels: x is no label" in err
    assert "did you mean 'mtu'?" in err
    assert run("validate", "db")[0] == 0


def test_export_of_an_empty_store(run):
    assert run("export")[:2] == (0, "all:\n  hosts: {}\n")


def test_a_template_of_dockers_is_told_from_ours(run, tmp_path):
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars/a.yml").write_text("machinectl: {log-opts: {tag: '{{.Name}}'}}\n")
    status, _, err = run("validate")
    assert status == 2
    assert "write !unsafe '{{.Name}}'" in err
    (tmp_path / "host_vars/a.yml").write_text("machinectl: {log-opts: {tag: !unsafe '{{.Name}}'}}\n")
    assert run("validate")[0] == 0
    assert json.loads(run("show", "a")[1])["wanted"]["engine"]["options"] == {
        "log-opts": {"tag": "{{.Name}}"}
    }


def test_layers_agree_on_names():
    assert entries.MACHINE.pattern == NAME.pattern
    assert entries.PACKAGE.pattern == host_packages.NAME.pattern
    assert entries.SYSCTL.pattern == sysctl.NAME.pattern
