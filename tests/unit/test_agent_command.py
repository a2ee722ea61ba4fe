"""`machinectl agent`: reading what came back over SSH, and showing it."""

from __future__ import annotations

import json

import pytest

from machinectl.cli.agent import _change, _duration, _render_json, render_table
from machinectl.errors import AgentFailed, ConnectionFailed
from machinectl.remote.daemon_client import read_answer, render_dial
from machinectl_agent import wire

HELLO = wire.encode(wire.hello("a" * 32, "0.1.0"))
STATUS = {
    "current": True,
    "agent": {"version": "0.1.0", "bundle": "a" * 32, "uptime": 93784.5, "memory": 14_500_000},
    "engine": {"state": "running", "version": "26.1.5", "latency": 0.4, "restarts": 2, "problem": ""},
    "events": [],
}


def read(*lines, status=0, stderr=""):
    return read_answer(b"".join(lines), stderr, status, "node1")


def test_the_result_is_found_behind_a_logins_noise():
    assert read(b"Welcome!\n{}\n", HELLO, wire.encode(wire.done({"pid": 7}))) == {"pid": 7}


@pytest.mark.parametrize(
    ("lines", "problem", "says"),
    [
        ((b"machinectl-no-agent\n",), "agent-missing", "agent upgrade node1"),
        (
            (wire.encode({**wire.hello("x", "3.0"), "wire": 9}), wire.encode(wire.done({}))),
            "wire-version",
            "wire version 9, this controller 1",
        ),
        (
            (wire.encode(wire.error("daemon-not-running", "no", "", "`upgrade NAME`")),),
            "daemon-not-running",
            "node1",
        ),
        (
            (HELLO, wire.encode(wire.error("too-many-clients", "32 clients"))),
            "too-many-clients",
            "32 clients",
        ),
        ((), "agent-failed", "exit status 3; boom"),
        ((HELLO,), "agent-failed", "did not answer"),
        ((HELLO, b'{"event":"done","result":[]}\n'), "agent-failed", "did not answer"),
        ((b"\xff\xfe\n" + b"[" * 100_000 + b"\n",), "agent-failed", "did not answer"),
    ],
)
def test_everything_else_is_one_clear_error(lines, problem, says):
    with pytest.raises(AgentFailed) as caught:
        read(*lines, status=3, stderr="boom")
    assert caught.value.problem == problem
    assert says in str(caught.value)


def test_commands_quote_what_they_are_given():
    assert "'/opt/a b'" in render_dial("/opt/a b").replace("'\"'\"'", "'")


def test_a_row_for_every_machine():
    table = render_table(
        [("node1", STATUS, None), ("node2", None, ConnectionFailed("no route"))]
    ).splitlines()
    assert table[1].split() == [
        "node1", "0.1.0", "aaaaaaaaaaaa", "1d", "2h", "14.5", "MB", "running", "26.1.5", "0.4", "ms", "2",
    ]  # fmt: skip
    assert table[2].split() == ["node2", *["-"] * 8, "unreachable"]


def test_json_holds_a_result_or_an_error():
    error = ConnectionFailed("no route", why="because")
    ours, theirs = json.loads(_render_json([("node1", STATUS, None), ("node2", None, error)]))
    assert (ours["name"], ours["agent"]["memory"]) == ("node1", 14_500_000)
    assert theirs == {
        "name": "node2",
        "error": {"problem": "unreachable", "what": "no route", "why": "because", "try": ""},
    }


def test_words_for_people():
    assert [_duration(one) for one in (0, 59.9, 61, 3600, 90061)] == ["0s", "59s", "1m 1s", "1h", "1d 1h"]
    assert _change("-", "b" * 32) == "no agent → bbbbbbbbbbbb"
    assert _change("b" * 32, "b" * 32) == "runs bbbbbbbbbbbb already"
