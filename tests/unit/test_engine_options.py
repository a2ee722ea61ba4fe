"""The options table: dockerd's words in, daemon.json's JSON out; wrong words are refused with a hint."""

from __future__ import annotations

import pytest

from machinectl_agent.engine.options import (
    CREATE_OPTIONS,
    TABLE,
    OptionError,
    collect,
    parse_assignment,
    parse_value,
    reloads,
)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("icc=false", ("icc", False)),
        ("debug", ("debug", True)),
        ("--debug=true", ("debug", True)),
        ("mtu=1400", ("mtu", 1400)),
        ("dns=9.9.9.9", ("dns", ["9.9.9.9"])),
        ("log-opt=max-size=10m", ("log-opts", {"max-size": "10m"})),
        ("log-opts=tag={{.Name}}=x", ("log-opts", {"tag": "{{.Name}}=x"})),
        (
            "default-address-pool=base=10.10.0.0/16,size=24",
            ("default-address-pools", [{"base": "10.10.0.0/16", "size": 24}]),
        ),
        (
            "default-ulimit=nofile=1024:2048",
            ("default-ulimits", {"nofile": {"Name": "nofile", "Soft": 1024, "Hard": 2048}}),
        ),
        ("feature=buildkit=true", ("features", {"buildkit": True})),
        ("userland-proxy=false", ("userland-proxy", False)),
        ('registry-mirrors=["https://a","https://b"]', ("registry-mirrors", ["https://a", "https://b"])),
        ('log-opts={"max-size": "1m"}', ("log-opts", {"max-size": "1m"})),
        ("future-switch=true", ("future-switch", True)),
        ("future-number=12", ("future-number", 12)),
        ("future-text=a b", ("future-text", "a b")),
    ],
)
def test_an_assignment_becomes_a_key_of_daemon_json(text, parsed):
    assert parse_assignment(text) == parsed


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("icc=maybe", "true or false"),
        ("mtu=big", "whole number"),
        ("mtu", "needs a value"),
        ("=5", "no option"),
        ("log-opt=max-size", "KEY=VALUE"),
        ("registry-miror=https://m", "no option 'registry-miror'"),
        ("host=tcp://0.0.0.0:2375", "can't be set"),
        ("tlsverify=false", "can't be set"),
        ("default-address-pool=10.0.0.0/8", "base and a size"),
    ],
)
def test_a_wrong_assignment_is_refused(text, named):
    with pytest.raises(OptionError, match=named):
        parse_assignment(text)


def test_the_hint_names_the_option_that_was_meant():
    with pytest.raises(OptionError) as refused:
        parse_assignment("registry-miror=https://m")
    assert refused.value.hint == "did you mean 'registry-mirror'?"


def test_several_values_are_collected_in_order_without_doubles():
    pairs = [
        ("dns", ["a"]),
        ("log-opts", {"x": "1"}),
        ("dns", ["b", "a"]),
        ("log-opts", {"y": "2"}),
        ("mtu", 1),
        ("mtu", 2),
    ]
    assert collect([("labels", ["a=1", "b=1"]), ("labels", ["a=2"])]) == {"labels": ["b=1", "a=2"]}
    assert collect(pairs) == {"dns": ["a", "b"], "log-opts": {"x": "1", "y": "2"}, "mtu": 2}


def test_the_table_has_no_double_and_every_create_flag_parses():
    assert len({option.flag for option in TABLE}) == len(TABLE)
    assert len({option.key for option in TABLE}) == len(TABLE)
    samples = {"number": "1", "flag": "true", "map": "a=b"}
    for option in CREATE_OPTIONS:
        text = (
            "base=10.0.0.0/8,size=24"
            if option.key == "default-address-pools"
            else samples.get(option.kind, "x")
        )
        assert parse_value(option, text)


def test_what_docker_documents_as_reloadable_reloads_and_the_rest_restarts():
    assert all(
        reloads(key) for key in ("registry-mirrors", "insecure-registries", "labels", "live-restore", "debug")
    )
    assert not any(reloads(key) for key in ("hosts", "tlscert", "mtu", "log-driver", "never-heard-of"))
