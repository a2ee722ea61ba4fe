"""Names and addresses of a lab, and what it writes for others; nothing here boots."""

from __future__ import annotations

import json

import pytest

from machinectl.errors import LabError
from machinectl.lab.host import Host
from machinectl.lab.inventory import render_inventory
from machinectl.lab.lab import HostWish, Lab
from machinectl.lab.prepare import resolver_text
from machinectl.lab.settings import Settings, settings_from_environment
from machinectl.lab.state import HostRecord, State, load_state, save_state


@pytest.fixture
def settings(tmp_path):
    return Settings(tmp_path / "state", tmp_path / "cache")


@pytest.mark.parametrize("subnet", ["198.18.0.1/24", "198.18.0.0/28", "fd00::/64", "somewhere"])
def test_a_subnet_that_cannot_be_is_refused(subnet):
    with pytest.raises(LabError, match="subnet") as refused:
        Settings(subnet=subnet)
    assert refused.value.hint


@pytest.mark.parametrize("bridge", ["", "0lab", "Lab", "a/b", "sixteen-letters-"])
def test_a_bridge_name_that_the_kernel_or_nft_would_refuse(bridge):
    with pytest.raises(LabError, match="no name for a bridge"):
        Settings(bridge=bridge)


@pytest.mark.parametrize("name", ["", "-a", "a-", "Node1", "a.b", "../etc", "a" * 33])
def test_a_host_name_that_is_no_folder_or_no_host_name(name):
    with pytest.raises(LabError, match="no name for a host"):
        HostWish(name)


def test_hosts_are_numbered_as_they_are_named(settings):
    lab = Lab(settings)

    def address(name, *taken):
        hosts = {f"x{one}": HostRecord(f"x{one}", "sid", f"198.18.0.{one}") for one in taken}
        return lab._free_address(name, hosts)

    assert address("node1") == "198.18.0.11"
    assert address("node2") == "198.18.0.12"
    assert address("node2", 12) == "198.18.0.13"
    assert address("registry", 11) == "198.18.0.12"
    assert address("node244") == "198.18.0.254"
    assert address("node245") == "198.18.0.11"
    assert address("node99999") == "198.18.0.11"
    with pytest.raises(LabError, match="no address is left"):
        address("node1", *range(11, 255))


def test_flags_before_environment_before_the_lab_that_is_there(settings, monkeypatch):
    save_state(settings, State("mcmade0", "198.18.9.0/24"))
    for name in ("CACHE", "BRIDGE", "SUBNET"):
        monkeypatch.delenv(f"MACHINECTL_LAB_{name}", raising=False)
    monkeypatch.setenv("MACHINECTL_LAB_DIR", str(settings.state))
    assert settings_from_environment().bridge == "mcmade0"
    assert settings_from_environment().subnet == "198.18.9.0/24"
    monkeypatch.setenv("MACHINECTL_LAB_BRIDGE", "mcenv0")
    assert settings_from_environment().bridge == "mcenv0"
    assert settings_from_environment("mcflag0").bridge == "mcflag0"


def test_the_state_survives_being_written_and_a_torn_one_is_named(settings):
    assert load_state(settings) == State()
    state = State("mclab0", "198.18.0.0/24", "0", {"a": HostRecord("a", "sid", "198.18.0.11", cgroup="v1")})
    save_state(settings, state)
    assert load_state(settings) == state
    (settings.state / "lab.json").write_text('{"hosts": {"a": {"nonsense": 1}}}')
    with pytest.raises(LabError, match="is damaged"):
        load_state(settings)


def test_the_inventory_is_ansibles(settings):
    hosts = [Host(settings, HostRecord("node1", "bookworm", "198.18.0.11"))]
    text = render_inventory(hosts)
    assert "    node1:\n      ansible_host: 198.18.0.11\n      ansible_user: root\n" in text
    assert f"ansible_ssh_private_key_file: {json.dumps(str(settings.key))}\n" in text


def test_a_resolver_on_the_machines_loopback_is_none_for_hosts(tmp_path):
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "resolv.conf").write_text("nameserver 127.0.0.53\n")
    assert resolver_text(tmp_path) == ""
    real = tmp_path / "run/systemd/resolve"
    real.mkdir(parents=True)
    (real / "resolv.conf").write_text("nameserver 192.0.2.53\n")
    assert resolver_text(tmp_path) == "nameserver 192.0.2.53\n"
    (etc / "resolv.conf").write_text("search example\nnameserver 203.0.113.1\n")
    assert resolver_text(tmp_path).startswith("search")
