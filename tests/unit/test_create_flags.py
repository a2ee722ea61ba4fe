"""create's command line: docker-machine's names, wrong words refused with one clear error before anything happens."""

from __future__ import annotations

import argparse
import dataclasses

import pytest

from machinectl.actions import wishes
from machinectl.cli import create, provision
from machinectl.cli.engine_flags import engine_wishes
from machinectl.cli.main import main
from machinectl.errors import MachineExists, UsageError


def parsed(*words, module=create):
    parser = argparse.ArgumentParser(allow_abbrev=False)
    module.configure(parser)
    return parser.parse_args(words)


def machine(**more):
    values = {
        "name": "node1",
        "ip": "192.0.2.10",
        "ssh": {},
        "engine_port": 2376,
        "engine": {},
        "host": {},
        "tls_san": (),
    }
    return wishes.new_machine(**{**values, **more})


def test_docker_machines_generic_flags_are_ours():
    args = parsed(
        "-d", "generic", "--generic-ip-address", "192.0.2.10", "--generic-ssh-user", "ops",
        "--generic-ssh-key", "k", "--generic-ssh-port", "2222", "--generic-engine-port", "2377", "node1",
    )  # fmt: skip
    assert (args.ip, args.ssh_user, args.ssh_key, args.ssh_port, args.engine_port) == (
        "192.0.2.10", "ops", "k", 2222, 2377,
    )  # fmt: skip


def test_docker_machines_variables_are_defaults(monkeypatch):
    monkeypatch.setenv("GENERIC_IP_ADDRESS", "192.0.2.11")
    monkeypatch.setenv("GENERIC_SSH_PORT", "2222")
    assert (parsed("n").ip, parsed("n").ssh_port) == ("192.0.2.11", 2222)
    assert parsed("--ip", "192.0.2.12", "n").ip == "192.0.2.12"
    monkeypatch.setenv("GENERIC_SSH_PORT", "")
    assert parsed("n").ssh_port is None
    environ = {
        "ENGINE_REGISTRY_MIRROR": "https://m,https://n",
        "ENGINE_OPT": "icc=false",
        "ENGINE_ENV": "A=b",
    }
    assert engine_wishes(parsed("n"), environ) == {
        "options": {"registry-mirrors": ["https://m", "https://n"], "icc": False},
        "env": {"A": "b"},
    }


def test_engine_flags_become_daemon_json():
    args = parsed(
        "--engine-registry-mirror", "https://a", "--engine-registry-mirror", "https://b",
        "--engine-insecure-registry", "r:5000", "--engine-label", "x=1", "--engine-storage-driver", "overlay2",
        "--engine-opt", "mtu=1400", "--engine-log-opt", "max-size=1m", "--engine-dns", "9.9.9.9", "n",
    )  # fmt: skip
    assert engine_wishes(args, {})["options"] == {
        "registry-mirrors": ["https://a", "https://b"],
        "insecure-registries": ["r:5000"],
        "labels": ["x=1"],
        "storage-driver": "overlay2",
        "mtu": 1400,
        "log-opts": {"max-size": "1m"},
        "dns": ["9.9.9.9"],
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ip", "192.0.2.10"], "a name for the machine is missing"),
        (["node1"], "the address of the host is missing"),
        (["--ip", "192.0.2.10", "no_de"], "Invalid hostname specified"),
        (["--ip", "-oProxyCommand=x", "n"], "expected one argument"),
        (["--ip", "a b", "n"], "neither an address nor a host name"),
        (["-d", "virtualbox", "--ip", "192.0.2.10", "n"], "there is no driver 'virtualbox'"),
        (["--ip", "192.0.2.10", "--engine-opt", "registry-miror=x", "n"], "did you mean 'registry-mirror'?"),
        (["--ip", "192.0.2.10", "--engine-opt", "hosts=tcp://0.0.0.0:2375", "n"], "can't be set here"),
        (["--ip", "192.0.2.10", "--engine-env", "secret-without-name", "n"], "NAME=VALUE is wanted"),
        (["--ip", "192.0.2.10", "--engine-port", "2375", "n"], "without TLS"),
        (["--ip", "192.0.2.10", "--ssh-port", "70000", "n"], "1 to 65535"),
        (["--ip", "192.0.2.10", "--adopt", "--engine-version", "26", "n"], "takes the engine as it is"),
        (["--ip", "192.0.2.10", "--engine-mirror", "mirror.lan", "n"], "not a URL"),
        (["--ip", "192.0.2.10", "--engine-package", "/nowhere/x.deb", "n"], "can't be read"),
        (["--ip", "192.0.2.10", "--engine-package", "x.zip", "n"], "no package"),
    ],
)
def test_wrong_words_are_one_clear_error_and_make_nothing(tmp_path, capsys, words, said):
    store = tmp_path / "store"
    try:
        status = main(["-s", str(store), "create", *words])
    except SystemExit as stopped:  # argparse's own errors
        status = int(stopped.code or 0)
    assert status == 2
    assert said in capsys.readouterr().err
    assert not store.exists()


def test_the_value_of_a_wrong_variable_is_not_shown():
    with pytest.raises(UsageError) as refused:
        engine_wishes(parsed("--engine-env", "MY-PROXY=http://u:hidden@p", "n"), {})
    assert "hidden" not in str(refused.value)


def test_a_repeated_create_finds_its_machine():
    ready = machine(engine={"options": {"mtu": 1400}})
    ready = dataclasses.replace(ready, state="ready", created="2026-01-01T00:00:00+00:00")
    assert wishes.admit(ready, machine(), [ready]) == ready
    assert wishes.admit(ready, machine(engine={"options": {"mtu": 1400}}), [ready]) == ready
    with pytest.raises(MachineExists, match='Docker machine "node1" already exists'):
        wishes.admit(ready, machine(engine={"options": {"mtu": 1500}}), [ready])
    with pytest.raises(MachineExists, match='Docker machine "node1" already exists'):
        wishes.admit(ready, machine(ip="192.0.2.99"), [ready])

    more = dataclasses.replace(
        ready, engine={"options": {"mtu": 1400, "debug": True, "labels": ["a=1", "b=1"]}}
    )
    assert wishes.admit(more, machine(engine={"options": {"labels": ["a=1"]}}), [more]) == more


def test_a_repeated_create_takes_over_how_to_get_there():
    ready = dataclasses.replace(machine(ssh={"user": "ops"}), state="ready")
    again = wishes.admit(ready, machine(ssh={"port": 2222}), [ready])
    assert (again.ssh.user, again.ssh.port) == ("ops", 2222)


def test_a_killed_provision_is_gone_on_with():
    ready = dataclasses.replace(machine(), state="ready")
    wanted = wishes.changed(ready, {"options": {"mtu": 1400}}, ["x"])
    remembered = wishes.pending(ready, wanted)
    assert remembered.engine == {}
    assert wishes.resumed(remembered) == wanted
    assert wishes.resumed(ready) == ready


@pytest.mark.parametrize(
    ("given", "kept"),
    [("[2001:DB8:0::1]", "2001:db8::1"), ("Node.LAN", "node.lan"), ("192.0.2.1", "192.0.2.1")],
)
def test_an_address_has_one_spelling(given, kept):
    assert machine(ip=given).ip == kept


def test_an_address_with_a_zone_is_refused():
    with pytest.raises(UsageError, match="zone"):
        machine(ip="fe80::1%eth0")


def test_an_unfinished_create_takes_the_new_settings():
    killed = dataclasses.replace(machine(), created="2026-01-01T00:00:00+00:00")
    again = wishes.admit(killed, machine(engine={"version": "26"}, ip="192.0.2.11"), [killed])
    assert (again.engine, again.ip, again.created) == ({"version": "26"}, "192.0.2.11", killed.created)


def test_one_host_is_one_machine():
    with pytest.raises(MachineExists, match='is already the machine "other"'):
        wishes.admit(None, machine(), [machine(name="other")])


def test_provision_adds_and_a_repeated_provision_changes_nothing():
    args = parsed("--engine-registry-mirror", "https://b", "--engine-label", "a=2", "n", module=provision)
    before = machine(engine={"options": {"registry-mirrors": ["https://a"], "labels": ["a=1", "b=1"]}})
    once = wishes.changed(before, engine_wishes(args, {}), ["x"])
    assert once.engine["options"] == {
        "registry-mirrors": ["https://a", "https://b"],
        "labels": ["b=1", "a=2"],
    }
    assert once.tls_san == ("x",)
    assert wishes.changed(once, engine_wishes(args, {}), ["x"]) == once


def test_an_ipv6_machine_listens_on_ipv6():
    from machinectl_agent.spec import TlsSpec  # noqa: PLC0415 - the agent's words, only here

    spec = wishes.build_spec(machine(ip="2001:db8::10"), TlsSpec("a", "b", "c"))
    assert spec.engine.listen == "[::]"
    assert machine(ip="2001:db8::10").url == "tcp://[2001:db8::10]:2376"


def test_a_package_file_that_has_changed_is_not_uploaded(tmp_path):
    path = tmp_path / "docker.io_1_amd64.deb"
    path.write_bytes(b"one")
    chosen = machine(engine={"packages": wishes.package_files([str(path)])})
    sha256 = chosen.engine["packages"][0]["sha256"]
    assert wishes.package_path(chosen, sha256) == path
    path.write_bytes(b"two")
    with pytest.raises(Exception, match="has changed since"):
        wishes.package_path(chosen, sha256)
