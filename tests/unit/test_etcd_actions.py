"""etcd's command line and unit: what --quota, --retention and the ports take, and every word that keeps strangers out."""

from __future__ import annotations

import argparse

import pytest

from machinectl.actions.etcd.deploy import wanted
from machinectl.actions.etcd.membership import check_version
from machinectl.cli.etcd import _duration as duration
from machinectl.cli.etcd import _pair as pair
from machinectl.cli.etcd import _port as port
from machinectl.cli.etcd import _size as size
from machinectl.cli.main import main
from machinectl.errors import MachinectlError, UsageError
from machinectl.model import Machine, SshAddress
from machinectl.store.etcd import Etcd
from machinectl.store.store import Store
from machinectl_agent.etcd.spec import EtcdSpec
from machinectl_agent.etcd.unit import FOUNDING, founding, render_unit
from machinectl_agent.spec import SpecError

SPEC = EtcdSpec(
    "a", "10.0.0.1", cluster={"a": "https://10.0.0.1:2380"}, token="t", state="new", key="KEY-TEXT"
)


@pytest.mark.parametrize(
    ("text", "number"), [("512M", 512 << 20), ("2G", 2 << 30), ("2GB", 2 << 30), ("2GiB", 2 << 30)]
)
def test_sizes_are_read(text, number):
    assert size(text) == number


@pytest.mark.parametrize("text", ["30m", "1h", "720h"])
def test_times_are_read(text):
    assert duration(text) == text


@pytest.mark.parametrize(
    ("parse", "texts"),
    [
        (size, ("", "2", "2T", "G", "-1G", "1.5G", "2g", "0M", "2G\n")),
        (duration, ("", "1", "1d", "h", "-1h", "1h30m", "0h", "1h\n")),
        (port, ("", "0", "65536", "-1", "https", "\u0662")),
        (pair, ("", "node1", "node1=", "=10.0.0.1")),
    ],
)
def test_nonsense_is_refused_by_the_command_line(parse, texts):
    for text in texts:
        with pytest.raises(argparse.ArgumentTypeError):
            parse(text)


@pytest.mark.parametrize(
    "words", [("--quota", "0G"), ("--retention", "0h"), ("--client-port", "0"), ("--advertise", "node1")]
)
def test_a_wrong_option_ends_with_status_2(tmp_path, capsys, words):
    with pytest.raises(SystemExit) as ended:
        main(["-s", str(tmp_path), "etcd", "deploy", *words, "node1"])
    assert ended.value.code == 2
    assert "wanted" in capsys.readouterr().err


def test_four_machines_are_refused_before_any_is_reached(tmp_path, capsys):
    store = Store(tmp_path)
    names = [f"node{number}" for number in range(4)]
    for number, name in enumerate(names):
        address = f"192.0.2.{number + 1}"
        store.save(Machine(name, address, SshAddress(address), state="ready"))
    assert main(["-s", str(tmp_path), "etcd", "deploy", *names]) == 2
    assert "1, 3 or 5 machines" in capsys.readouterr().err
    assert not (tmp_path / "etcd.json").exists()


def test_clients_and_members_have_ports_of_their_own():
    machines = {"a": "10.0.0.1"}
    with pytest.raises(UsageError, match="port 2380"):
        wanted(None, machines, {}, {"client_port": 2380}, any_size=False)
    present = Etcd(members=machines, token="t", state="existing")
    with pytest.raises(UsageError, match="port 2380"):  # a running cluster would lose its first member by it
        wanted(present, machines, {}, {"client_port": 2380}, any_size=False)
    assert wanted(present, machines, {}, {"client_port": 4001}, any_size=False).client_port == 4001


def test_a_member_older_than_all_others_is_not_added():
    for version, others in (("3.4.23", ["3.5.16", "3.4.1"]), ("3.5.16", ["3.4.23"]), ("3.5.2", ["3.5.16"])):
        check_version("a", version, others)
    with pytest.raises(MachinectlError, match=r"all members have 3\.5 or newer"):
        check_version("a", "3.4.23", ["3.5.16", "3.10.1"])


def flags(text):
    """etcd's flags in the unit's command."""
    command = next(line for line in text.replace("\\\n", " ").splitlines() if line.startswith("ExecStart="))
    return dict(word.strip('"').removeprefix("--").partition("=")[::2] for word in command.split()[1:])


@pytest.mark.parametrize("version", ["3.3.25", "3.4.23", "3.5.16", "3.6.1"])
@pytest.mark.parametrize("bindable", [True, False])
def test_the_unit_lets_nobody_in_without_a_certificate(version, bindable):
    text = render_unit(SPEC, "/usr/bin", version, bindable=bindable)
    found = flags(text)
    assert found["client-cert-auth"] == found["peer-client-cert-auth"] == "true"
    for name in ("trusted-ca-file", "cert-file", "key-file"):
        assert found[name] == found[f"peer-{name}"]
        assert found[name].startswith("/etc/machinectl-etcd/")
    for word in ("insecure", "skip", "auto-tls", "http:", "KEY-TEXT"):
        assert word not in text
    assert "User=machinectl-etcd" in text
    assert FOUNDING in text


def test_how_a_member_begins():
    assert founding(SPEC).splitlines() == [
        "ETCD_INITIAL_CLUSTER=a=https://10.0.0.1:2380",
        "ETCD_INITIAL_CLUSTER_TOKEN=t",
        "ETCD_INITIAL_CLUSTER_STATE=new",
    ]


def test_a_spec_without_a_name_is_refused():
    with pytest.raises(SpecError, match="address"):
        EtcdSpec.from_json({"name": "a"})
