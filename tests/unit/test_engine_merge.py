"""daemon.json is merged: the host's own survives, ours goes when it is no longer wanted."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from machinectl_agent.engine.merge import Record, changed_keys, merge, parse_document, render_document
from machinectl_agent.problems import Problem

words = st.sampled_from(["a", "b", "c", "d"])
scalars = st.one_of(st.booleans(), st.integers(0, 3), words)
# a key always has one kind, as in dockerd
documents = st.fixed_dictionaries(
    {},
    optional={
        "list-1": st.lists(words, unique=True, min_size=1),
        "list-2": st.lists(words, unique=True, min_size=1),
        "map": st.dictionaries(words, words, min_size=1),
        "scalar-1": scalars,
        "scalar-2": scalars,
    },
)


def test_the_hosts_own_entries_stay_behind_ours():
    now = {"registry-mirrors": ["https://own"], "mtu": 1500, "log-opts": {"max-size": "1m"}}
    wanted = {"registry-mirrors": ["https://new"], "mtu": 1400, "log-opts": {"max-file": "3"}}
    merged, record = merge(now, Record(), wanted)
    assert merged == {
        "registry-mirrors": ["https://new", "https://own"],
        "mtu": 1400,
        "log-opts": {"max-size": "1m", "max-file": "3"},
    }
    assert record.displaced == {"mtu": 1500}


def test_an_entry_that_was_the_hosts_own_stays_when_we_no_longer_want_it():
    _, record = merge({"dns": ["9.9.9.9"]}, Record(), {"dns": ["9.9.9.9", "1.1.1.1"]})
    merged, _ = merge({"dns": ["9.9.9.9", "1.1.1.1"]}, record, {})
    assert merged == {"dns": ["9.9.9.9"]}


def test_a_label_of_the_same_name_is_replaced_and_comes_back():
    first, record = merge({"labels": ["zone=own", "rack=1"]}, Record(), {"labels": ["zone=a"]})
    assert first == {"labels": ["zone=a", "rack=1"]}
    second, record = merge(first, record, {"labels": ["zone=b"]})
    assert second == {"labels": ["zone=b", "rack=1"]}
    assert merge(second, record, {})[0] == {"labels": ["rack=1", "zone=own"]}


@given(documents, documents)
def test_merging_again_changes_nothing(now, wanted):
    merged, record = merge(now, Record(), wanted)
    assert merge(merged, record, wanted) == (merged, record)


@given(documents, documents, documents)
def test_what_is_wanted_is_there(now, before, wanted):
    first, record = merge(now, Record(), before)
    merged, _ = merge(first, record, wanted)
    for key, value in wanted.items():
        if isinstance(value, list):
            assert merged[key][: len(value)] == value
        elif isinstance(value, dict):
            assert value.items() <= merged[key].items()
        else:
            assert merged[key] == value


@given(documents, documents, documents)
def test_wanting_nothing_any_more_gives_the_host_its_own_back(now, wanted, other):
    merged, record = merge(now, Record(), wanted)
    merged, record = merge(merged, record, other)
    merged, record = merge(merged, record, {})
    assert set(merged) == set(now)
    for key, value in now.items():
        if isinstance(value, list):
            assert sorted(merged[key]) == sorted(value)
        else:
            assert merged[key] == value
    assert record == Record()


@given(documents, documents)
def test_keys_that_nobody_asked_for_are_untouched(now, wanted):
    merged, _ = merge(now, Record(), wanted)
    for key in set(now) - set(wanted):
        assert merged[key] == now[key]


@given(documents)
def test_a_document_survives_its_text(document):
    assert parse_document("daemon.json", render_document(document)) == document


@pytest.mark.parametrize("text", ["{", '{"a": 1,}', "[]", "null", "# comment"])
def test_a_daemon_json_that_is_none_is_refused_by_name(text):
    with pytest.raises(Problem) as refused:
        parse_document("/etc/docker/daemon.json", text)
    assert refused.value.code == "daemon-json-invalid"
    assert "/etc/docker/daemon.json" in refused.value.what
    assert refused.value.hint


def test_an_empty_file_holds_no_settings():
    assert parse_document("x", " \n") == {}


def test_changed_keys_sees_additions_removals_and_changes():
    assert changed_keys({"a": 1, "b": 2}, {"b": 3, "c": json.loads("null") or 0}) == ["a", "b", "c"]
