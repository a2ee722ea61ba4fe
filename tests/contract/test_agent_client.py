"""The agent client against agents that behave, and against every way of misbehaving, over a real sshd."""

from __future__ import annotations

import time

import pytest

from machinectl.errors import AgentFailed, ConnectionFailed
from machinectl.remote.agent_client import run_agent
from machinectl.remote.bundle import Bundle
from machinectl_agent import wire

PROLOGUE = """
import json, os, sys, time
request = json.loads(sys.stdin.buffer.readline())
HERE = os.path.basename(os.path.dirname(os.path.abspath(__file__)))
def raw(content):
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()
def say(event, **more):
    raw(json.dumps({"event": event, **more}).encode() + b"\\n")
def hello(**more):
    say("hello", **{"wire": 1, "bundle": HERE, "version": "0", **more})
"""


def agent(body: str) -> Bundle:
    return Bundle({"__main__.py": (PROLOGUE + body).encode()})


@pytest.fixture
def ask(connection, tmp_path):
    """run_agent with a stub for an agent; gives (result, events)."""

    def ask(
        body: str, args: wire.Message | None = None, **options
    ) -> tuple[wire.Message, list[wire.Message]]:
        events: list[wire.Message] = []
        result = run_agent(
            connection,
            agent(body),
            wire.request("apply", args or {}),
            on_event=lambda one: events.append(dict(one)),
            root=str(tmp_path / "agents"),
            **{"deadline": 30.0, "idle_deadline": 10.0, **options},
        )
        return result, events

    return ask


def test_events_come_in_order_and_the_result_is_given(ask):
    body = """
hello()
say("facts", facts={"os": "debian"})
say("alive")
say("step", id="a", state="done", seconds=0.1)
say("done", result={"args": request["args"], "argv": sys.argv[1:]})
"""
    for _ in range(2):  # with the bundle to be uploaded, and without
        result, events = ask(body, {"word": "é" * 50_000})
        assert result == {"args": {"word": "é" * 50_000}, "argv": ["apply"]}
        assert [one["event"] for one in events] == ["hello", "facts", "step"]


def test_the_short_path_is_fast(ask):
    body = "hello(); say('done', result={})"
    ask(body)
    times = []
    for _ in range(3):
        started = time.monotonic()
        ask(body)
        times.append(time.monotonic() - started)
    assert min(times) < 2  # 35 ms on an idle machine


def test_needed_files_are_provided_and_answered(ask, connection, tmp_path):
    target = tmp_path / "package.deb"

    def provide(files):
        assert files == [{"name": "p", "path": str(target)}]
        connection.upload(b"content", str(target), deadline=10)

    result, _ = ask(
        f"""
hello()
say("need", files=[{{"name": "p", "path": {str(target)!r}}}])
reply = json.loads(sys.stdin.buffer.readline())
say("done", result={{"reply": reply, "size": os.path.getsize({str(target)!r})}})
""",
        need=provide,
    )
    assert result == {"reply": {"reply": "need"}, "size": 7}


def test_the_agents_own_error_is_kept(ask):
    with pytest.raises(AgentFailed) as caught:
        ask('hello(); say("error", problem="engine-start-failed", what="no", why="because", hint="do")')
    error = caught.value
    assert (error.problem, error.what, error.why, error.hint) == (
        "engine-start-failed",
        "no",
        "because",
        "do",
    )
    assert error.machine == "node1"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("sys.exit(0)", "ended without an answer"),
        ("print('some panic', file=sys.stderr); sys.exit(3)", "exit status 3; its last words: some panic"),
        ("hello(); raise SystemExit('boom')", "boom"),
        ("os.kill(os.getpid(), 9)", "ended without an answer"),
        ("raw(b'Traceback: so sorry\\n'); time.sleep(60)", "not a message: b'Traceback: so sorry"),
        ("raw(b'[1, 2]\\n')", "is no message"),
        ("raw(b'\\xff\\xfe\\x00\\n')", "is no message"),
        ("raw(b'\\n')", "is no message"),
        ('hello(); raw(b\'{"event": "done"\')', "is no message"),
        ("hello(); raw(b'[' * 100_000 + b'\\n')", "is no message"),
        ("hello(); say('done')", "result is no object"),
        ("hello(); raw(b'{}\\n')", "without an event"),
        ("say('facts', facts={})", "did not say hello"),
        ("hello(wire=7)", "wire version 7"),
        ("hello(bundle='f00')", "another agent"),
        ("hello(); say('need', files=[])", "nobody offered"),
        ("hello(); say('error')", "without saying what"),
        ("hello(); say('error', what=['x'], why={'y': 1})", "y"),
    ],
)
def test_misbehaving_is_told_clearly(ask, body, says):
    started = time.monotonic()
    with pytest.raises(AgentFailed) as caught:
        ask(body)
    assert says in str(caught.value)
    assert time.monotonic() - started < 40


def test_a_huge_line_is_cut_off(ask):
    started = time.monotonic()
    with pytest.raises(AgentFailed, match="line without end"):
        ask("hello()\nwhile True: raw(b'x' * 1_000_000)")
    assert time.monotonic() - started < 60


def test_silence_is_noticed_and_heartbeats_are_life(ask):
    beats = "hello()\nfor _ in range(8):\n    time.sleep(0.5); say('alive')\n"
    result, _ = ask(beats + "say('done', result={})", idle_deadline=3)
    assert result == {}
    with pytest.raises(AgentFailed, match="fell silent") as caught:
        ask(beats + "time.sleep(60)", idle_deadline=3)
    assert caught.value.problem == "agent-silent"
    with pytest.raises(AgentFailed, match="fell silent"):
        ask("hello(); raw(b'{\"event\":'); time.sleep(60)", idle_deadline=2)


def test_the_whole_time_is_limited(ask):
    body = (
        "hello()\nif request['args'].get('end'): say('done', result={}); sys.exit()\n"
        "while True:\n    say('alive'); time.sleep(0.1)"
    )
    ask(body, {"end": True})  # from here on the bundle is there
    with pytest.raises(AgentFailed, match="did not finish in time") as caught:
        ask(body, deadline=3)
    assert caught.value.problem == "agent-timeout"


def test_a_lost_connection_is_not_the_agents_fault(ask):
    with pytest.raises(ConnectionFailed, match="connection broke"):
        ask("hello(); os.kill(os.getppid(), 9); time.sleep(60)")


def test_noise_of_the_login_is_skipped(start_sshd, key, connect, tmp_path):
    sshd = start_sshd(
        "noisy",
        ("ed25519",),
        "ForceCommand echo welcome; printf 'no newline '; eval \"$SSH_ORIGINAL_COMMAND\"",
    )
    sshd.authorize(key)
    with connect(sshd.address(key)) as connection:
        for _ in range(2):
            result = run_agent(
                connection,
                agent("hello(); say('done', result={'fine': 1})"),
                wire.request("facts", {}),
                on_event=lambda _one: None,
                deadline=20,
                root=str(tmp_path / "agents"),
            )
            assert result == {"fine": 1}


@pytest.mark.parametrize("size", [0, 4_000_000])
def test_a_login_that_runs_nothing_is_told(start_sshd, key, connect, tmp_path, size):
    """What it says counts, whether it ends before or after the request is written."""
    sshd = start_sshd(
        "closed", ("ed25519",), "ForceCommand echo This account is currently not available.; exit 1"
    )
    sshd.authorize(key)
    with connect(sshd.address(key)) as connection, pytest.raises(AgentFailed) as caught:
        run_agent(
            connection,
            agent(""),
            wire.request("facts", {"rest": "x" * size}),
            on_event=lambda _one: None,
            deadline=20,
            root=str(tmp_path / "agents"),
        )
    assert caught.value.problem == "bootstrap-failed"
    assert "currently not available" in caught.value.why
