"""config set, get, unset: what they mean, before any host hears of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from machinectl.actions.engine_settings import Edit, edited, parse_edit, parse_key, value_of
from machinectl.cli.config_change import render_value, shown
from machinectl.errors import MachinectlError
from machinectl.model import Machine, SshAddress


def machine(options=None, env=None, **more):
    return Machine("n", "::1", SshAddress("::1"), engine={"options": options or {}, "env": env or {}, **more})


def after(present, *texts):
    changed = edited(machine(*present), [parse_edit(text) for text in texts]).engine
    return changed.get("options", {}), changed.get("env", {})


def unset(present, *keys):
    changed = edited(machine(*present), [Edit(*parse_key(key), "") for key in keys]).engine
    return changed.get("options", {}), changed.get("env", {})


A, B, C = "https://a", "https://b", "https://c"


@pytest.mark.parametrize(
    ("present", "texts", "options"),
    [
        ({}, ["mtu=1400"], {"mtu": 1400}),
        ({"mtu": 1500}, ["mtu=1400", "icc=false"], {"mtu": 1400, "icc": False}),
        ({"registry-mirrors": [A]}, ["registry-mirrors=" + B], {"registry-mirrors": [B]}),
        ({"registry-mirrors": [A]}, [f"registry-mirror={B}", f"registry-mirrors={C}"], {"registry-mirrors": [B, C]}),
        ({"registry-mirrors": [A]}, [f'registry-mirrors=["{B}","{C}"]'], {"registry-mirrors": [B, C]}),
        ({"registry-mirrors": [A]}, ["registry-mirrors+=" + B], {"registry-mirrors": [A, B]}),
        ({"registry-mirrors": [A]}, ["registry-mirrors+=" + A], {"registry-mirrors": [A]}),
        ({"registry-mirrors": [A, B]}, ["registry-mirrors-=" + A], {"registry-mirrors": [B]}),
        ({"registry-mirrors": [A]}, ["registry-mirrors-=" + A], {}),
        ({"registry-mirrors": [A]}, ["registry-mirrors-=" + B], {"registry-mirrors": [A]}),
        ({"labels": ["zone=a", "x=y"]}, ["labels+=zone=b"], {"labels": ["x=y", "zone=b"]}),
        ({"labels": ["zone=a", "x=y"]}, ["label-=zone=a"], {"labels": ["x=y"]}),
        ({"log-opts": {"a": "1"}}, ["log-opts+=max-size=10m"], {"log-opts": {"a": "1", "max-size": "10m"}}),
        ({"log-opts": {"a": "1", "b": "2"}}, ["log-opts-=a"], {"log-opts": {"b": "2"}}),
        ({"log-opts": {"a": "1"}}, ["log-opts=b=2"], {"log-opts": {"b": "2"}}),
        ({}, ["default-address-pools+=base=10.1.0.0/16,size=24"], {"default-address-pools": [{"base": "10.1.0.0/16", "size": 24}]}),
        ({"default-address-pools": [{"base": "10.1.0.0/16", "size": 24}]}, ["default-address-pool-=base=10.1.0.0/16,size=24"], {}),
        ({}, ["some-new-thing=true", "new-list+=x"], {"some-new-thing": True, "new-list": ["x"]}),
        ({}, ["--log-level=debug"], {"log-level": "debug"}),
    ],
)  # fmt: skip
def test_options(present, texts, options):
    assert after((present,), *texts) == (options, {})


def test_environment_and_proxies():
    assert after(({}, {"A": "1"}), "HTTP_PROXY=http://p:1/?a=b", "env.lower=x") == (
        {}, {"A": "1", "HTTP_PROXY": "http://p:1/?a=b", "lower": "x"},
    )  # fmt: skip
    assert after(({},), "https-proxy=http://p", "no-proxy=a,b") == (
        {},
        {"HTTPS_PROXY": "http://p", "NO_PROXY": "a,b"},
    )
    assert unset(({"mtu": 1}, {"A": "1", "HTTP_PROXY": "x"}), "http-proxy", "env.A", "mtu") == ({}, {})


def test_unset():
    assert unset(({"registry-mirrors": [A], "mtu": 1400},), "registry-mirror") == ({"mtu": 1400}, {})
    kept = edited(machine({"mtu": 1}, version="26", adopt=True), [Edit("options", "mtu", "")])
    assert kept.engine == {"version": "26", "adopt": True}
    same = machine({"mtu": 1})
    assert edited(same, [Edit("options", "bip", ""), Edit("env", "A", "")]) is same


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mtu", "KEY=VALUE is wanted"),
        ("=x", "KEY=VALUE is wanted"),
        ("mtu=wide", "whole number"),
        ("icc=perhaps", "true or false"),
        ("registry-mirors+=https://a", "did you mean"),
        ("registry-mirrors+=a.example.com", "no URL"),
        ("mtu+=1", "no list and no map"),
        ("hosts=tcp://0.0.0.0:2375", "can't be set"),
        ("tlsverify=false", "can't be set"),
        ("HTTP_PROXY+=x", "one value"),
        ("HTTP_PROXY=a\nExecStart=/bin/sh", "one line"),
        ("labels+=zone", "no label"),
        ("log-opts=x", "KEY=VALUE"),
    ],
)
def test_wrong_ones(text, says):
    with pytest.raises(MachinectlError) as caught:
        parse_edit(text)
    assert says in str(caught.value)
    assert caught.value.exit_status == 2


def test_no_error_shows_a_variables_value():
    for text in ("HTTP_PROXY+=http://u:hunter2@p", "HTTP_PROXY=http://u:hunter2@p\n"):
        with pytest.raises(MachinectlError) as caught:
            parse_edit(text)
        assert "hunter2" not in str(caught.value)


def test_get():
    found = machine({"registry-mirrors": [A, B], "mtu": 1}, {"HTTP_PROXY": "http://u:hunter2@p"})
    assert value_of(found, "registry-mirror") == [A, B]
    assert value_of(found, "http-proxy") == value_of(found, "HTTP_PROXY") == "http://u:hunter2@p"
    with pytest.raises(MachinectlError, match="bip is not set"):
        value_of(found, "bip")
    assert shown(found.engine)[1] == {"HTTP_PROXY": "(hidden)"}
    assert render_value([A, B]) == f"{A}\n{B}"
    assert render_value({"a": "1", "b": False}) == "a=1\nb=false"
    assert render_value(True) == "true"


WISHES = st.fixed_dictionaries(
    {},
    optional={
        "registry-mirrors": st.lists(st.sampled_from([A, B, C]), min_size=1, unique=True),
        "log-opts": st.dictionaries(st.sampled_from("ab"), st.sampled_from(["1", "2"]), min_size=1),
        "mtu": st.integers(1, 9000),
    },
)


@given(WISHES, st.sampled_from([A, B, C]))
def test_one_entry_more_and_less_and_the_whole_taken_back(options, mirror):
    given_ = machine(options)
    more = edited(given_, [parse_edit(f"registry-mirrors+={mirror}")])
    assert mirror in more.engine["options"]["registry-mirrors"]
    assert edited(more, [parse_edit(f"registry-mirrors+={mirror}")]) == more
    less = edited(more, [parse_edit(f"registry-mirrors-={mirror}")])
    assert mirror not in less.engine.get("options", {}).get("registry-mirrors", [])
    nothing = edited(given_, [Edit("options", key, "") for key in options])
    assert nothing.engine.get("options", {}) == {}
