"""Volumes that an inventory wants: what may be written, what the phase does with it."""

from __future__ import annotations

import dataclasses

import pytest

from machinectl.actions.export_inventory import export_inventory
from machinectl.errors import InventoryError
from machinectl.inventory.keys import find_key
from machinectl.model import Machine, SshAddress
from machinectl.store.store import Store
from machinectl_agent.engine.stopped import wish_stopped
from machinectl_agent.facts import Facts
from machinectl_agent.host import Host
from machinectl_agent.phases.base import Context
from machinectl_agent.phases.volumes import VolumesPhase
from machinectl_agent.problems import Problem
from machinectl_agent.spec import EngineSpec, HostSpec, Spec, TlsSpec

FACTS = Facts("debian", (), "Debian", "12", "bookworm", "x86_64", "6.1", "3.11.2", systemd=True, container="")
KEY = find_key("volumes", "here")
PLAIN = {"driver": "local", "options": {}, "labels": {}}


def context(volumes):
    return Context(Spec("n", EngineSpec(), TlsSpec("", "", ""), HostSpec(volumes=volumes)), FACTS)


def test_what_may_be_written():
    assert KEY.check(["a", "b"], "here") == {"a": PLAIN, "b": PLAIN}
    assert KEY.check({"a": None, "b": {}}, "here") == {"a": PLAIN, "b": PLAIN}
    written = {"driver_opts": {"type": "nfs", "soft": True, "n": 1}, "labels": {"team": None}}
    assert KEY.check({"a": written}, "here")["a"] == {
        "driver": "local", "options": {"type": "nfs", "soft": "true", "n": "1"}, "labels": {"team": ""},
    }  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    ["a", [{"a": 1}], ["/srv"], {"a b": {}}, {"a": "local"}, {"a": {"size": 1}}, {"a": {"driver": ""}},
     {"a": {"options": ["x"]}}, {"a": {"options": {"o": ["hidden"]}}}],
)  # fmt: skip
def test_what_is_refused_with_its_place(wrong):
    with pytest.raises(InventoryError, match="here: volumes: ") as raised:
        KEY.check(wrong, "here")
    assert "hidden" not in str(raised.value)


def test_the_plan():
    phase = VolumesPhase()
    wanted = context({"a": PLAIN, "b": {**PLAIN, "driver": "nfs", "labels": {"x": "y"}}})
    assert [step.title for step in phase.plan({}, wanted)] == ["+ make volume a", "+ make volume b (nfs)"]
    there = {"Driver": "nfs", "Options": None, "Labels": {"x": "y", "more": "z"}}
    assert [step.title for step in phase.plan({"b": there}, wanted)] == ["+ make volume a"]
    assert phase.plan({"a": {"Driver": "local"}, "b": there, "other": {"Driver": "x"}}, wanted) == []
    with pytest.raises(Problem, match="with the driver x") as raised:
        phase.plan({"a": {"Driver": "x"}}, wanted)
    assert "machinectl volume clone" in raised.value.hint


def test_nothing_is_asked_where_nothing_is_wanted(tmp_path):
    phase, host = VolumesPhase(), Host(str(tmp_path))
    assert phase.observe(host, context({})) is None
    wish_stopped(host, "me")
    assert phase.observe(host, context({"a": PLAIN})) is None
    assert phase.plan(None, context({"a": PLAIN})) == []


def test_options_are_shown_to_nobody(tmp_path, monkeypatch):
    secret = {"driver": "local", "options": {"o": "username=x,password=hunter2"}, "labels": {}}
    spec = context({"a": PLAIN, "b": secret}).spec
    assert "hunter2" not in str(spec.redacted())
    assert Spec.from_json(spec.to_json()).host.volumes == {"a": PLAIN, "b": secret}
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    store = Store(tmp_path / "store")
    machine = Machine("m1", "10.0.0.1", SshAddress("10.0.0.1"), host={"volumes": {"a": PLAIN, "b": secret}})
    with store.lock("machine-m1"):
        store.save(dataclasses.replace(machine))
    text = export_inventory(store)
    assert "hunter2" not in str(text)
    assert "volumes has b" in str(text)
