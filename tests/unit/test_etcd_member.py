"""etcd on the host: what is planned from every state, which flags a version gets, what a log's last words are."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from machinectl_agent.etcd import programs
from machinectl_agent.etcd.install import InstallPhase
from machinectl_agent.etcd.install import Seen as Programs
from machinectl_agent.etcd.member import MemberPhase, Seen
from machinectl_agent.etcd.restore import is_swapped
from machinectl_agent.etcd.spec import DATA, EtcdSpec
from machinectl_agent.etcd.unit import (
    FOLDER,
    FOUNDING,
    UNIT_FILE,
    founding,
    is_bindable,
    last_words,
    mark_in,
    options,
    render_unit,
)
from machinectl_agent.facts import gather
from machinectl_agent.host import Host
from machinectl_agent.marked import Running
from machinectl_agent.phases.base import Context
from machinectl_agent.problems import Problem
from machinectl_agent.spec import EngineSpec, Spec, SpecError, TlsSpec

CLUSTER = {"a": "https://10.0.0.1:2380", "b": "https://10.0.0.2:2380"}
WANTED = EtcdSpec(
    "a", "10.0.0.1", cluster=CLUSTER, token="t", incarnation="t", state="new", ca="CA", cert="CERT", key="KEY-TEXT"
)  # fmt: skip
UNIT = render_unit(WANTED, "/usr/bin", "3.4.23", bindable=True)
FILES = {f"{FOLDER}/ca.pem": "CA", f"{FOLDER}/server.pem": "CERT", f"{FOLDER}/server-key.pem": "KEY-TEXT"}
WELL = Seen(
    texts={**FILES, UNIT_FILE: UNIT, FOUNDING: founding(WANTED)},
    enabled=True,
    process=Running("active", 0, mark_in(UNIT)),
    has_data=True,
    has_user=True,
    membership="t",
    unit=UNIT,
    folder=True,
)
BARE = Seen(dict.fromkeys(WELL.texts, ""), False, Running(), False, False, "", UNIT)


@pytest.fixture
def context(tmp_path):
    return Context(Spec("a", EngineSpec(), TlsSpec("", "", "")), gather(Host(str(tmp_path))))


def plan(context, seen, spec=WANTED, phase=MemberPhase):
    return [step.title for step in phase(spec, context.facts).plan(seen, context)]


def test_a_member_that_is_well_needs_nothing(context):
    assert plan(context, WELL) == []


def test_a_bare_host_gets_everything_and_no_secret_is_shown(context):
    steps = MemberPhase(WANTED, context.facts).plan(BARE, context)
    assert len(steps) == 9
    assert not any("KEY-TEXT" in step.diff for step in steps)


@pytest.mark.parametrize("kept", [(), ("unit",), ("unit", "data"), ("data",), ("unit", "data", "process")])
def test_a_killed_run_is_finished(context, kept):
    """Whatever was there already, the rest is planned, and a membership is noted."""
    changes: dict[str, dict[str, Any]] = {
        "unit": {"texts": WELL.texts, "enabled": True, "has_user": True},
        "data": {"has_data": True, "folder": True},
        "process": {"process": WELL.process},
    }
    seen = dataclasses.replace(BARE, **{key: value for name in kept for key, value in changes[name].items()})
    titles = plan(context, seen)
    assert any("membership" in title for title in titles)
    assert any("start" in title for title in titles) is ("process" not in kept)
    assert not any("aside" in title for title in titles)


@pytest.mark.parametrize("state", ["new", "existing"])
def test_lost_data_are_never_replaced_by_an_empty_member(context, state):
    spec = dataclasses.replace(WANTED, state=state)
    seen = dataclasses.replace(WELL, has_data=False, folder=False, process=Running())
    with pytest.raises(Problem) as raised:
        plan(context, seen, spec)
    assert raised.value.code == "etcd-data-lost"
    assert "etcd remove a" in raised.value.hint


def test_an_empty_host_founds_no_second_cluster(context):
    with pytest.raises(Problem) as raised:
        plan(context, BARE, dataclasses.replace(WANTED, state="existing"))
    assert raised.value.code == "etcd-data-lost"
    assert plan(context, BARE, dataclasses.replace(WANTED, state="existing", joining=True))


def test_data_of_a_membership_that_has_ended_are_moved_aside_by_the_next(context):
    again = dataclasses.replace(WANTED, state="existing", joining=True, incarnation="t-2")
    titles = plan(context, WELL, again)
    assert "aside" in titles[0]
    assert any("+ start" in title for title in titles)
    assert any("membership" in title for title in titles)
    with pytest.raises(Problem):  # unless it is not being added just now
        plan(context, WELL, dataclasses.replace(again, joining=False))


@pytest.mark.parametrize(
    ("process", "said"),
    [
        (Running("inactive"), "+ start"),
        (Running("activating", 3), "it does not come up"),
        (Running("active", 0, "0ther"), "its configuration changes"),
        (Running("active", 0, mark_in(UNIT), stale=True), "its program was replaced"),
    ],
)
def test_what_runs_is_asked_of_the_process(context, process, said):
    titles = plan(context, dataclasses.replace(WELL, process=process))
    assert len(titles) == 1
    assert said in titles[0]


@pytest.mark.parametrize("delete", [False, True])
def test_an_ended_member_leaves_nothing_but_its_data(context, delete):
    spec = EtcdSpec("a", "", absent=True, delete_data=delete)
    titles = plan(context, WELL, spec)
    assert [title.split()[1] for title in titles] == ["stop", "delete" if delete else "move", "remove"]
    gone = dataclasses.replace(
        BARE, texts=dict.fromkeys(BARE.texts, ""), has_user=True, unit="", process=Running("inactive")
    )
    assert plan(context, gone, spec) == []


@pytest.mark.parametrize(
    ("version", "v2", "said"),
    [("3.3.25", False, "false"), ("3.3.25", True, "true"), ("3.4.23+dfsg-1", False, None), ("3.5.16", True, "true"),
     ("3.6.1", False, None)],
)  # fmt: skip
def test_the_v2_api_is_off_unless_asked_for(version, v2, said):
    spec = dataclasses.replace(WANTED, v2=v2)
    assert options(spec, version, bindable=True).get("enable-v2") == said


def test_a_version_without_the_v2_api_is_told():
    with pytest.raises(Problem) as raised:
        options(dataclasses.replace(WANTED, v2=True), "3.6.0", bindable=True)
    assert raised.value.code == "etcd-without-v2"


def test_nothing_listens_in_the_clear_unless_asked_for_on_loopback():
    assert "http:" not in UNIT
    plain = options(dataclasses.replace(WANTED, insecure_loopback=True), "3.5.16", bindable=True)
    assert plain["listen-client-urls"] == "https://10.0.0.1:2379,http://127.0.0.1:2379"
    assert [name for name, value in plain.items() if "http:" in value] == ["listen-client-urls"]
    with pytest.raises(Problem):
        options(dataclasses.replace(WANTED, insecure_loopback=True), "3.5.16", bindable=False)


def test_an_address_that_is_not_the_hosts_own_is_advertised_but_not_bound():
    away = options(dataclasses.replace(WANTED, address="203.0.113.7"), "3.5.16", bindable=False)
    assert away["listen-client-urls"] == "https://0.0.0.0:2379"
    assert away["advertise-client-urls"] == "https://203.0.113.7:2379"
    six = options(dataclasses.replace(WANTED, address="fd00::1"), "3.5.16", bindable=True)
    assert six["listen-peer-urls"] == "https://[fd00::1]:2380"
    assert is_bindable("127.0.0.1")
    assert not is_bindable("203.0.113.7")
    assert not is_bindable("etcd.example")


def test_the_mark_changes_with_the_unit_and_the_certificates():
    marks = {
        mark_in(render_unit(spec, "/usr/bin", "3.4.23", bindable=True))
        for spec in (
            WANTED,
            dataclasses.replace(WANTED, quota=1 << 20),
            dataclasses.replace(WANTED, cert="ANOTHER"),
        )
    }
    assert len(marks) == 3
    assert "" not in marks


@pytest.mark.parametrize(
    ("present", "wanted", "code"),
    [
        ("3.3.25", "3.4.23", ""),
        ("3.4.23+dfsg-1", "3.5.16", ""),
        ("3.5.16", "3.5.2", ""),
        ("", "3.5.16", ""),
        ("3.3.25", "3.5.16", "etcd-skips-minor"),
        ("2.3.8", "3.0.1", "etcd-skips-minor"),
        ("3.5.16", "3.4.23", "etcd-downgrade"),
    ],
)
def test_versions_move_up_by_one_minor(present, wanted, code):
    if not code:
        programs.check_move(present, wanted)
        return
    with pytest.raises(Problem) as raised:
        programs.check_move(present, wanted)
    assert raised.value.code == code


def test_versions_are_read_from_what_etcd_and_packages_say():
    assert programs.parse_version("etcd Version: 3.5.16\nGit SHA: Not provided\n") == "3.5.16"
    assert programs.parse_version("nonsense") == ""
    assert programs.numbers("1:3.4.23+dfsg-1+b5") == (3, 4, 23)
    assert programs.numbers("") == (0, 0, 0)


def test_the_packages_own_service_is_masked_before_the_package_comes(context):
    titles = plan(context, Programs("", "", masked=False), phase=InstallPhase)
    assert [title.split()[1] for title in titles] == ["mask", "install"]
    assert plan(context, Programs("3.4.23", "", masked=True), phase=InstallPhase) == []


def test_somebody_elses_etcd_is_left_alone(context):
    seen = Programs("3.4.23", "", masked=False, foreign="etcd.service")
    with pytest.raises(Problem) as raised:
        plan(context, seen, phase=InstallPhase)
    assert raised.value.code == "etcd-foreign"


def test_given_programs_are_uploaded_once_and_kept_apart(context, tmp_path):
    given = dataclasses.replace(WANTED, binaries={"etcd": "1" * 64, "etcdctl": "2" * 64})
    assert plan(context, Programs("", "", masked=True), given, InstallPhase)[0].startswith(
        "+ put etcd, etcdctl"
    )
    host = Host(str(tmp_path))
    folders = {
        programs.folder(host, {}),
        programs.folder(host, given.binaries),
        programs.folder(host, {"etcd": "3"}),
    }
    assert len(folders) == 3
    assert "/usr/bin" in folders


def test_a_newer_package_that_skips_a_minor_is_refused(context):
    seen = Programs("3.3.25+dfsg-6", "3.3.25", masked=True, newer="3.5.16-4")
    with pytest.raises(Problem) as raised:
        plan(context, seen, dataclasses.replace(WANTED, upgrade=True), InstallPhase)
    assert raised.value.code == "etcd-skips-minor"


def test_a_member_is_restored_once(tmp_path):
    host = Host(str(tmp_path))
    assert not is_swapped(host, WANTED)
    host.make_folder(f"{DATA}/member/wal")
    host.write(f"{FOLDER}/membership", "t\n")
    assert is_swapped(host, WANTED)
    assert not is_swapped(host, dataclasses.replace(WANTED, incarnation="t2"))


def test_last_words_are_those_that_say_what_is_wrong():
    zap = (
        '{"level":"info","msg":"raft.node: 1 elected leader"}\n'
        '{"level":"warn","ts":"x","msg":"rejected connection","remote-addr":"1","error":"tls: bad certificate"}\n'
        '{"level":"fatal","msg":"discovery failed","error":"listen tcp 10.0.0.1:2380: bind: address already in use"}\n'
    )
    assert last_words(zap).splitlines() == [
        "rejected connection tls: bad certificate",
        "discovery failed listen tcp 10.0.0.1:2380: bind: address already in use",
    ]
    assert last_words("plain words\n") == "plain words"


def test_a_spec_of_another_version_is_refused():
    assert EtcdSpec.from_json(WANTED.to_json()) == WANTED
    assert "KEY-TEXT" not in repr(WANTED)
    with pytest.raises(SpecError, match="unknown key 'colour'"):
        EtcdSpec.from_json({**WANTED.to_json(), "colour": "red"})
