"""Host patterns over an inventory, and which inventory is read when none is named."""

from __future__ import annotations

import pytest

from machinectl.cli.inventory_flags import inventory_paths
from machinectl.errors import InventoryError, UsageError
from machinectl.inventory.patterns import split_pattern
from machinectl.inventory.read import read_inventory


@pytest.fixture
def inventory(tmp_path):
    path = tmp_path / "hosts.ini"
    path.write_text(
        "fe80::1\n[fe80::2]:22\nmail.example.com\n"
        "[web]\nweb[1:4]\n[eu]\nweb[3:4]\ndb1\n[site:children]\nweb\neu\n"
    )
    return read_inventory([path])


@pytest.mark.parametrize(
    ("patterns", "limit", "names"),
    [
        (["web:&eu"], [], "web3 web4"),
        (["web", "!eu"], [], "web1 web2"),
        (["!eu", "web"], [], "web1 web2"),
        (["site:!web[0]:!web[-1]"], [], "web2 web3 db1"),
        (["web[1:2]"], [], "web2 web3"),
        (["web[7:9]"], [], ""),
        (["db*,~web[12]$"], [], "web1 web2 db1"),
        (["eu,~w.b(1|2)"], [], "web1 web2 web3 web4 db1"),
        (["*.example.com"], [], "mail.example.com"),
        (["fe80::1"], [], "fe80::1"),
        (["fe80::1,web[0]"], [], "fe80::1 web1"),
        (["all", "!fe80::1"], ["!site"], "fe80::2 mail.example.com"),
        (["all"], ["web", "!eu"], "web1 web2"),
        (["site"], ["eu[0]"], "web3"),
        (["all:!all"], [], ""),
        ([], ["db1"], "db1"),
    ],
)
def test_chosen(inventory, patterns, limit, names):
    assert inventory.select(patterns, limit) == names.split()


@pytest.mark.parametrize(
    ("patterns", "limit", "what"),
    [
        (["wbe"], [], "did you mean 'web'?"),
        (["all:!web33"], [], "matches 'web33'"),
        (["all"], ["nothing*"], "matches 'nothing*'"),
        (["~["], [], "no regular expression"),
        (["web[4]"], [], "there are 4 hosts"),
        ([""], [], "a pattern is empty"),
        (["all"], [""], "a pattern is empty"),
        ([" , :"], [], "a pattern is empty"),
        (["!"], [], "matches ''"),
    ],
)
def test_refused(inventory, patterns, limit, what):
    with pytest.raises(InventoryError) as error:
        inventory.select(patterns, limit)
    assert what in str(error.value)


def test_split():
    assert split_pattern("a[0:1]:b,!fe80::1,c:&d") == ["a[0:1]", "b", "!fe80::1", "c", "&d"]


def test_the_inventory_that_is_read_when_none_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MACHINECTL_INVENTORY", raising=False)
    with pytest.raises(UsageError, match="no inventory is named"):
        inventory_paths([])
    for name in ("inventories/lab/hosts.yml", "inventories/README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [str(one) for one in inventory_paths([])] == ["inventories/lab"]
    (tmp_path / "inventories/edge.yml").touch()
    with pytest.raises(UsageError, match=r"holds several inventories[\s\S]*-i inventories/edge.yml"):
        inventory_paths([])
    (tmp_path / "inventories/group_vars").mkdir()
    assert [str(one) for one in inventory_paths([])] == ["inventories"]
    (tmp_path / "inventory.yml").touch()
    assert [str(one) for one in inventory_paths([])] == ["inventory.yml"]
    monkeypatch.setenv("MACHINECTL_INVENTORY", "a:b")
    assert [str(one) for one in inventory_paths([])] == ["a", "b"]
    assert [str(one) for one in inventory_paths(["c"])] == ["c"]
    with pytest.raises(UsageError, match="-i without a path"):
        inventory_paths([""])
