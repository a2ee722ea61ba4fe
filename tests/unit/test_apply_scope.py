"""What an apply is about: machines that are selected, and what is known of the others."""

from __future__ import annotations

import dataclasses

import pytest

from machinectl.actions.apply.cluster import Members, member_changes
from machinectl.actions.apply.options import batch_size
from machinectl.actions.apply.planning import read_scope
from machinectl.errors import InventoryError, MachineExists, UsageError
from machinectl.inventory.read import read_inventory
from machinectl.store.etcd import Etcd
from machinectl.store.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def scope(tmp_path, store):
    """`scope(TEXT, *PATTERNS)` → the scope, with an empty store."""

    def read(text, *patterns):
        path = tmp_path / "hosts.ini"
        path.write_text(text)
        return read_scope(store, read_inventory([path]), [path], patterns, ())

    return read


def test_a_host_that_is_no_machine_of_ours_stops_nobody_else(scope):
    text = "a ansible_host=10.0.0.1\nwin ansible_host=10.0.0.2 ansible_connection=winrm\n"
    assert [one.name for one in scope(text, "a").targets] == ["a"]
    with pytest.raises(InventoryError, match="winrm"):
        scope(text, "win")


def test_two_hosts_of_one_address_are_refused(scope):
    with pytest.raises(UsageError, match="have the same address"):
        scope("a ansible_host=10.0.0.1\nb ansible_host=10.0.0.1\n")


def test_a_host_that_is_another_machine_is_refused(scope, store):
    (target,) = scope("a ansible_host=10.0.0.1\n").targets
    store.save(dataclasses.replace(target.wanted, name="other", inventory=""))
    with pytest.raises(MachineExists, match='already the machine "other"'):
        scope("a ansible_host=10.0.0.1\n")


def test_machines_that_left_are_told_by_their_inventory(scope, store):
    for target in scope("a ansible_host=10.0.0.1\nb ansible_host=10.0.0.2\n").targets:
        store.save(dataclasses.replace(target.wanted, state="ready"))
    assert scope("a ansible_host=10.0.0.1\n").left == ["b"]
    machine = store.load("b")
    store.save(dataclasses.replace(machine, inventory=""))
    assert scope("a ansible_host=10.0.0.1\n").left == []


def members(wanted, known=None, selected=None):
    everybody = frozenset(known or wanted)
    return Members(tuple(wanted), everybody, frozenset(selected or everybody))


def test_a_cluster_is_founded_by_all_of_its_members_together():
    assert member_changes(None, members("abc")) == ("+ found a cluster on a, b, c",)
    assert member_changes(None, members("abc", selected="ab")) == ()


def test_members_come_before_others_go_and_only_where_they_are_meant():
    etcd = Etcd(members={"a": "1", "b": "2", "x": "9"}, token="t", state="existing")
    assert member_changes(etcd, members("ac", known="abc")) == ("+ add c", "- remove b")
    assert member_changes(etcd, members("ac", known="abc", selected="c")) == ("+ add c",)
    assert member_changes(etcd, members("ab")) == ()


def test_an_etcd_of_somebody_elses_is_not_changed():
    with pytest.raises(UsageError, match="somebody else runs"):
        member_changes(Etcd(members={}, token="", endpoints=("https://x:2379",)), members("a"))


@pytest.mark.parametrize(
    ("serial", "count", "size"), [("1", 9, 1), ("3", 2, 3), ("25%", 20, 5), ("1%", 5, 1)]
)
def test_batches(serial, count, size):
    assert batch_size(serial, count) == size


@pytest.mark.parametrize("serial", ["0", "-1", "x", "%", "0%", "1.5"])
def test_batches_that_can_not_be(serial):
    with pytest.raises(UsageError):
        batch_size(serial, 5)
