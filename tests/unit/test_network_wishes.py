"""`machinectl network` and `dns`: bad input is refused before any connection; answers are shown."""

from __future__ import annotations

import argparse
import json
from typing import Any

import pytest

from machinectl.actions.network import networks
from machinectl.actions.network.doctor import render_findings
from machinectl.actions.network.membership import check_pools, joining
from machinectl.actions.network.wishes import LONGEST, make_wish, match_machines
from machinectl.cli import dns, network
from machinectl.cli.main import main
from machinectl.errors import UsageError
from machinectl.model import Machine, SshAddress
from machinectl.remote.daemon_client import render_dial

RECORD: dict[str, Any] = {
    "id": "e" * 64,
    "name": "demo",
    "subnets": ["10.77.1.0/24", "fd77::/64"],
    "ranges": ["", ""],
    "gateways": ["10.77.1.1", ""],
    "internal": False,
    "mtu": 1400,
    "vni": 7,
    "on": [],
    "labels": {"team": "blue"},
    "options": {},
    "created": "2026-01-01T00:00:00+00:00",
    "endpoints": [
        {
            "machine": "node1",
            "container": "c" * 64,
            "name": "web",
            "aliases": ["www"],
            "ip": "10.77.1.2",
            "ip6": "fd77::2",
            "mac": "02:42:0a:4d:01:02",
            "endpoint": "a" * 64,
        },
        {
            "machine": "node2",
            "container": "",
            "name": "",
            "aliases": [],
            "ip": "10.77.1.3",
            "ip6": "",
            "mac": "02:42:0a:4d:01:03",
            "endpoint": "b" * 64,
        },
    ],
    "machines": [{"name": "node1", "id": "1", "vtep": "10.0.0.1", "alive": True}],
}


def parsed(*words, module=network):
    parser = argparse.ArgumentParser(allow_abbrev=False)
    module.configure(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("name", "more", "says"),
    [
        ("-demo", {}, "no name for a network"),
        ("de mo", {}, "no name for a network"),
        ("", {}, "no name for a network"),
        ("x" * (LONGEST + 1), {}, "at most 63"),
        ("bridge", {}, "Docker's own"),
        ("demo", {"subnets": ["10.77.1.0"]}, "too small"),
        ("demo", {"subnets": ["10.77.1.5/24"]}, "no network"),
        ("demo", {"subnets": ["ten/24"]}, "no network"),
        ("demo", {"subnets": ["10.77.1.0/31"]}, "too small"),
        ("demo", {"subnets": ["224.0.0.0/24"]}, "no container can have"),
        ("demo", {"subnets": ["127.0.0.0/24"]}, "no container can have"),
        ("demo", {"subnets": ["10.77.0.0/16", "10.77.5.0/24"]}, "overlaps"),
        ("demo", {"ranges": ["10.77.1.128/25"]}, "needs a --subnet"),
        ("demo", {"subnets": ["10.77.1.0/24"], "ranges": ["10.77.2.128/25"]}, "none of the subnets"),
        ("demo", {"subnets": ["10.77.1.0/24"], "ranges": ["10.77.0.0/16"]}, "none of the subnets"),
        ("demo", {"subnets": ["10.77.1.0/24"], "gateways": ["10.77.2.1"]}, "none of the subnets"),
        ("demo", {"subnets": ["10.77.1.0/24"], "gateways": ["10.77.1.255"]}, "the subnet"),
        ("demo", {"subnets": ["10.77.1.0/24"], "gateways": ["10.77.1.0"]}, "the subnet"),
        ("demo", {"subnets": ["10.77.1.0/24"], "gateways": ["10.77.1.1", "10.77.1.2"]}, "twice for one"),
        ("demo", {"subnets": ["10.77.1.0/24"], "gateways": ["gate"]}, "no address"),
        ("demo", {"mtu": 100}, "--mtu 100"),
        ("demo", {"mtu": 70000}, "--mtu 70000"),
        ("demo", {"mtu": -1}, "--mtu -1"),
        ("demo", {"mtu": 1000, "ipv6": True}, "1280"),
        ("demo", {"labels": ["=blue"]}, "KEY=VALUE"),
    ],
)
def test_bad_input_is_refused(name, more, says):
    with pytest.raises(UsageError) as caught:
        make_wish(name, **more)
    assert says in str(caught.value)


def test_a_wish_is_what_the_service_takes():
    wish = make_wish(
        "demo",
        subnets=["10.77.1.0/24", "FD77:0::/64"],
        ranges=["10.77.1.128/25"],
        gateways=["10.77.1.1"],
        labels=["team=blue", "bare"],
        on=["node1"],
    )
    assert wish.to_args() == {
        "name": "demo",
        "subnets": ["10.77.1.0/24", "fd77::/64"],
        "ranges": ["10.77.1.128/25"],
        "gateways": ["10.77.1.1"],
        "mtu": 0,
        "internal": False,
        "ipv6": False,
        "labels": {"team": "blue", "bare": ""},
        "options": {},
        "on": ["node1"],
    }


def test_patterns_name_machines():
    assert match_machines(["web*", "db1"], ["db1", "web1", "web2"]) == ("web1", "web2", "db1")
    assert match_machines([], ["db1"]) == ()
    with pytest.raises(UsageError, match="members are db1"):
        match_machines(["web*"], ["db1"])


def test_the_flags():
    args = parsed(
        "create", "--subnet", "10.1.0.0/24", "--subnet", "fd77::/64", "--on", "a*", "--ipv6", "demo"
    )
    assert (args.subnet, args.on, args.ipv6, args.driver) == (
        ["10.1.0.0/24", "fd77::/64"],
        ["a*"],
        True,
        "machinectl",
    )
    assert parsed("create", "-d", "overlay", "demo").driver == "overlay"
    assert parsed("join", "--advertise", "eth1", "a", "b").names == ["a", "b"]
    assert parsed("lookup", "--network", "demo", "web", module=dns).name == "web"


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["network", "create", "--subnet", "10.0.0.1/8", "demo"], 2, "write --subnet 10.0.0.0/8"),
        (["network", "create", "demo"], 1, "network join"),
        (["network", "create", "-d", "overlay", "demo"], 1, "network join --driver overlay"),
        (["network", "create", "-d", "overlay", "--ipv6", "demo"], 2, "leave --driver out"),
        (["network", "create", "--on", "web*", "demo"], 2, "no member is called that"),
        (["network", "ls"], 1, "network join"),
        (["network", "inspect", "demo"], 1, "network join"),
        (["network", "rm", "demo"], 1, "network join"),
        (["network", "rm", "demo", "other"], 3, "2 of 2 networks"),
        (["network", "forget", "node1"], 1, "no member but node1"),
        (["network", "doctor"], 1, "network join"),
        (["network", "join", "node1"], 1, "etcd deploy"),
        (["network", "leave", "node1"], 1, "does not exist"),
        (["network", "ls", "--machine", "node1"], 1, "network join"),
        (["network", "join", "--advertise", "10.0.0.1", "a", "b"], 2, "--advertise eth1"),
        (["dns", "lookup", "web"], 1, "network join"),
    ],
)
def test_errors_before_any_connection(tmp_path, capsys, words, status, says):
    assert main(["-s", str(tmp_path / "store"), *words]) == status
    assert says in capsys.readouterr().err


def test_inspect_is_in_dockers_shape():
    shown = networks.shown_as_docker(RECORD)
    assert shown["IPAM"]["Config"] == [
        {"Subnet": "10.77.1.0/24", "Gateway": "10.77.1.1"},
        {"Subnet": "fd77::/64"},
    ]
    assert shown["EnableIPv6"] is True
    web = shown["Containers"]["c" * 64]
    assert (web["IPv4Address"], web["IPv6Address"], web["Machine"]) == ("10.77.1.2/24", "fd77::2/64", "node1")
    assert shown["Containers"][f"ep-{'b' * 64}"]["IPv6Address"] == ""
    assert json.dumps(shown)


def test_tables():
    classic = networks.shown_classic(
        {"Id": "1", "Name": "old", "IPAM": {"Config": [{"Subnet": "10.0.9.0/24"}]}, "Internal": False}
    )
    listed = network.render_table([{**RECORD, "driver": "machinectl", "endpoints": 2}, classic])
    assert listed.splitlines()[1].split() == [
        "demo",
        "machinectl",
        "10.77.1.0/24,",
        "fd77::/64",
        "no",
        "2",
        "all",
    ]
    assert listed.splitlines()[2].split() == ["old", "overlay", "10.0.9.0/24", "no", "-", "all"]
    answers = [{**RECORD["endpoints"][0], "network": "demo", "alive": False}]
    assert dns.render_table(answers).splitlines()[1].split()[:4] == ["web", "10.77.1.2,", "fd77::2", "node1"]
    assert "node1 (dead)" in dns.render_table(answers)


def test_findings_say_what_why_and_what_to_do():
    found = [
        {"subject": "demo", "what": "a peer is missing", "why": "because", "hint": "wait", "fixed": True},
        {"subject": "", "what": "the clock is wrong", "why": "", "hint": "", "fixed": False},
    ]
    assert render_findings("node1", found) == (
        "node1: demo: a peer is missing (put right)\n  why: because\n  try: wait\nnode1: the clock is wrong\n"
    )


def test_the_other_socket_is_dialled():
    assert render_dial("/opt/a", "network").endswith("dial-stdio network'")
    assert render_dial("/opt/a").endswith("dial-stdio'")


class TestPools:
    """`network join --pool`."""

    def test_they_are_kept_until_others_are_given(self):
        machine = Machine("a", "10.0.0.1", SshAddress("10.0.0.1"))
        first = joining(machine, pools=check_pools(["10.88.0.0/16", "fd88::/48"], 26), pool_size=26)
        assert first.network["pools"] == ["10.88.0.0/16", "fd88::/48"]
        again = joining(first, "10.0.0.9")
        assert (again.network["pools"], again.network["pool_size"]) == (first.network["pools"], 26)
        assert joining(first, pools=["10.89.0.0/16"]).network["pools"] == ["10.89.0.0/16"]
        assert "pools" not in joining(machine).network

    @pytest.mark.parametrize(
        ("pools", "size", "said"),
        [
            (["10.88.0.1/16"], 0, "no network"),
            (["nonsense"], 0, "no network"),
            (["10.88.0.0/25"], 0, "smaller than a subnet of /24"),
            (["10.88.0.0/25"], 24, "smaller than a subnet of /24"),
            (["fd88::/65"], 26, "smaller than a subnet of /64"),
            (["10.88.0.0/16", "10.88.1.0/24"], 0, "overlaps"),
        ],
    )
    def test_nonsense_is_refused(self, pools, size, said):
        with pytest.raises(UsageError) as caught:
            check_pools(pools, size)
        assert said in caught.value.what

    @pytest.mark.parametrize("words", [("--pool-size", "7"), ("--pool-size", "30"), ("--pool-size", "x")])
    def test_a_wrong_size_ends_with_status_2(self, tmp_path, words, capsys):
        with pytest.raises(SystemExit) as ended:
            main(["--storage-path", str(tmp_path), "network", "join", *words, "a"])
        assert ended.value.code == 2
        assert "8 to 29" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "words",
        [
            ("-d", "overlay", "--pool", "10.0.0.0/8"),
            ("-d", "overlay", "--pool-size", "24"),
        ],
    )
    def test_flags_of_the_other_driver_are_refused(self, tmp_path, words, capsys):
        assert main(["--storage-path", str(tmp_path), "network", "join", *words, "a"]) == 2
        assert "--driver overlay" in capsys.readouterr().err
