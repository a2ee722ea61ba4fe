"""The phase that installs the daemon: its plan, from every state that a host can be in."""

from __future__ import annotations

import dataclasses
import os
import sys

import pytest

from machinectl_agent import bundle
from machinectl_agent.facts import Facts
from machinectl_agent.host import Host
from machinectl_agent.phases import agent
from machinectl_agent.phases.agent import AgentPhase, Seen
from machinectl_agent.phases.base import Context, Work
from machinectl_agent.spec import EngineSpec, Spec, TlsSpec
from machinectl_agent.templates import render

MINE, OTHER = "a" * 32, "b" * 32
TEXT = render(agent.UNIT, python=sys.executable, current=bundle.CURRENT)
READY = Seen(TEXT, enabled=True, current=MINE, running=MINE)
CONTEXT = Context(
    Spec("node1", EngineSpec(), TlsSpec("", "", "")),
    Facts("debian", (), "Debian", "12", "bookworm", "x86_64", "6.1", "3.11.2", systemd=True, container=""),
)


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    monkeypatch.setattr(agent, "own_hash", lambda: MINE)


def titles(**differing):
    return [one.title for one in AgentPhase().plan(dataclasses.replace(READY, **differing), CONTEXT)]


def test_nothing_where_this_bundle_answers():
    assert titles() == []


def test_everything_on_a_new_host():
    assert titles(text="", enabled=False, current=MINE, running="-") == [
        f"+ write {agent.UNIT_FILE}",
        f"+ enable {agent.UNIT} at boot",
        f"+ start {agent.UNIT}",
    ]


def test_another_bundle_is_replaced():
    assert titles(current=OTHER, running=OTHER) == [
        f"~ make {MINE[:12]} the current agent (now {OTHER[:12]})",
        f"! restart {agent.UNIT} (it runs from {OTHER[:12]})",
    ]


def test_a_daemon_that_does_not_answer_is_started():
    assert titles(running="-") == [f"+ start {agent.UNIT}"]


def test_a_changed_unit_is_written_and_taken_over():
    assert titles(text=TEXT.replace("always", "no")) == [
        f"~ write {agent.UNIT_FILE}",
        f"! restart {agent.UNIT} (its unit changes)",
    ]


def test_the_host_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(agent, "running_bundle", lambda: "-")
    host = Host(str(tmp_path))
    assert AgentPhase().observe(host, CONTEXT) == Seen("", enabled=False, current="", running="-")
    host.write(agent.UNIT_FILE, TEXT)
    link = host.path(agent.WANTED_LINK)
    link.parent.mkdir(parents=True)
    link.symlink_to(agent.UNIT_FILE)  # its target is only there when seen from inside
    host.make_folder(bundle.ROOT)
    host.path(bundle.CURRENT).symlink_to(OTHER)
    assert AgentPhase().observe(host, CONTEXT) == Seen(TEXT, enabled=True, current=OTHER, running="-")

    agent.switch_current(Work(host, print, print))
    assert os.readlink(host.path(bundle.CURRENT)) == MINE  # noqa: PTH115 - names are compared
    assert os.readlink(host.path(f"{bundle.ROOT}/previous")) == OTHER  # noqa: PTH115


def test_removal_only_where_there_is_something(tmp_path):
    host = Host(str(tmp_path))
    assert agent.removal_steps(host) == []
    host.write(agent.UNIT_FILE, TEXT)
    assert [one.id for one in agent.removal_steps(host)] == ["agent/stop", "agent/remove"]


def test_the_unit_is_what_systemd_needs():
    assert f"ExecStart={sys.executable} -I /opt/machinectl/agent/current daemon\n" in TEXT
    for line in ("Type=notify", "Restart=always", "WatchdogSec=90", "RuntimeDirectoryPreserve=yes"):
        assert f"\n{line}\n" in TEXT
    # a mount namespace of its own would hide what it mounts for containers
    for word in ("ProtectSystem=", "PrivateTmp=", "ProtectHome=", "PrivateMounts=", "RestrictNamespaces="):
        assert not any(line.startswith(word) for line in TEXT.splitlines())


def test_a_checkout_has_no_hash():
    assert bundle.own_hash() == ""
    assert (bundle.own_folder() / "machinectl_agent").is_dir()
