"""A carry in all its ways over real sshds, with ends that fail on purpose."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import os
import signal
import subprocess
import sys
import time

import pytest

from machinectl.actions.carry import WITHIN, LocalSink, LocalSource, MachineEnd, carry
from machinectl.actions.copy import How, copy
from machinectl.actions.copy_words import Spot
from machinectl.actions.report import Report
from machinectl.errors import AgentFailed, MachinectlError, MachineNotFound
from machinectl.model import Machine
from machinectl.remote import bootstrap, native, streams
from machinectl.remote.agent_client import run_agent
from machinectl.remote.become import Become
from machinectl.remote.connection import open_connection
from machinectl.remote.deadline import Deadline
from machinectl.remote.native import native_connection
from machinectl.store.store import Store
from tests import carry_ends
from tests.carry_ends import BLOCK, sha256_of
from tests.contract.conftest import make_key
from tests.ports import free_port
from tests.waiting import until

SIZE = 20_000_003

NOISE = """ForceCommand printf 'welcome' >&2; printf 'hello'; exec sh -c "$SSH_ORIGINAL_COMMAND\""""


@pytest.fixture
def store(start_sshd, tmp_path, monkeypatch):
    """Two machines, `one` and `two`, each an sshd of its own; agents go to a folder of the test's. A login to `noisy`
    says something, without a newline at its end."""
    store = Store(tmp_path / "store")
    key = make_key(tmp_path / "key")
    for name in ("one", "two", "noisy"):
        server = start_sshd(name, ("ed25519",), *([NOISE] if name == "noisy" else []))
        server.authorize(key)
        with store.machine_lock(name):
            store.save(Machine(name, "127.0.0.1", server.address(key)))
    monkeypatch.setattr(
        bootstrap, "start_agent", functools.partial(bootstrap.start_agent, root=str(tmp_path / "agents"))
    )
    monkeypatch.setattr(streams, "build_bundle", carry_ends.bundle_with_bytes)
    return store


class Told(Report):
    """Keeps what was said."""

    def __init__(self):
        super().__init__("")
        self.lines = []

    def line(self, text):
        self.lines.append(text)


@pytest.fixture
def go(store):
    return functools.partial(carry, store, become=Become("none"), within=60.0)


def machine(name, **args):
    return MachineEnd(name, "bytes", args, user="")


def pour(size, part=100_000, fail=None):
    def produce(sink):
        left = size
        while left:
            if fail and left <= size // 2:
                raise fail
            piece = BLOCK[: min(left, part)]
            sink.write(piece)
            left -= len(piece)
        return {"poured": size}

    return LocalSource(produce)


def drink(fail_at=None):
    def consume(source):
        digest = hashlib.sha256()
        size = 0
        while piece := source.read(70_000):
            digest.update(piece)
            size += len(piece)
            if fail_at is not None and size >= fail_at:
                raise OSError(28, "No space left on device", "/somewhere")
        return {"drunk": size, "sha256": digest.hexdigest()}

    return LocalSink(consume)


def poured_in_100k(size):
    digest = hashlib.sha256()
    while size:
        piece = BLOCK[: min(size, 100_000)]
        digest.update(piece)
        size -= len(piece)
    return digest.hexdigest()


@pytest.mark.parametrize("systems_ssh", [False, True])
def test_what_was_said_before_anyone_listened_is_heard(store, systems_ssh):
    """An agent's hello may be read with the line on stdout that says it runs."""
    address = store.load("one").ssh
    options = {"machine": "one", "known_hosts": store.known_hosts, "become": Become("none")}
    with open_connection(address, **options) as connection:  # pins the host's key, too
        by = native_connection(address, **options) if systems_ssh else connection
        assert by
        with contextlib.closing(by.start("echo early >&2; echo up; cat >&2", timeout=10)) as channel:
            assert channel.read_line(10) == b"up\n"
            until(lambda: channel.take_in() or channel.stderr_tail() == "early")
            heard: list[bytes] = []
            channel.divert_stderr(heard.append)
            channel.write(b"late\n", 10)
            channel.close_input()
            assert channel.wait(10) == 0
            assert b"".join(heard) == b"early\nlate\n"


def test_what_a_login_says_is_no_part_of_the_stream(go):
    for ends in (
        (machine("noisy", size=SIZE), machine("one")),
        (machine("one", size=SIZE), machine("noisy")),
    ):
        done = go(*ends)
        assert (done.way, done.destination["sha256"]) == ("direct", sha256_of(SIZE))


def test_an_agent_that_lives_and_does_not_answer_is_given_up():
    words = """while sleep 0.05; do echo '{"event":"alive"}' >&2; done"""
    with contextlib.closing(native.NativeChannel(["sh", "-c", words], "one")) as channel:
        stream = streams.AgentStream(channel, "one", lambda _: None, Deadline(60))
        with pytest.raises(AgentFailed, match="fell silent") as failure:
            stream.expect("ready", 0.5)
    assert "'ready' for 0.5 s" in failure.value.why


@pytest.mark.parametrize("size", [0, 1, SIZE])
@pytest.mark.parametrize("compress", [False, True])
def test_all_ways_carry_all_bytes(go, size, compress):
    seen: list[int] = []
    done = go(pour(size), machine("one"), progress=seen.append, compress=compress)
    assert (done.way, done.bytes, done.source) == ("ssh", size, {"poured": size})
    assert (done.destination["drunk"], done.destination["sha256"]) == (size, poured_in_100k(size))
    assert seen[-1:] == [size] * bool(size)

    done = go(machine("one", size=size), drink(), compress=compress)
    assert (done.way, done.bytes, done.source) == ("ssh", size, {"poured": size})
    assert done.destination == {"drunk": size, "sha256": sha256_of(size)}

    for direct, way in ((True, "direct"), (False, "relay")):
        done = go(machine("one", size=size), machine("two"), direct=direct, compress=compress)
        assert (done.way, done.bytes, done.source) == (way, size, {"poured": size})
        assert done.destination == {"drunk": size, "sha256": sha256_of(size), "user": os.geteuid()}


def test_without_an_ssh_client_and_with_one(go, monkeypatch):
    """ssh does what it can (the first time it can't: the host's key is not pinned); without it we do it ourselves."""
    used: list[bool] = []
    original = native.NativeChannel.__init__

    def counted(self, *words):
        original(self, *words)
        used.append(True)

    monkeypatch.setattr(native.NativeChannel, "__init__", counted)
    for which in ("", "", None):
        used.clear()
        if which is None:
            monkeypatch.setattr("shutil.which", lambda _: None)
        assert go(pour(SIZE), machine("one")).destination["sha256"] == poured_in_100k(SIZE)
        assert go(machine("one", size=SIZE), drink()).destination["sha256"] == sha256_of(SIZE)
        for direct in (True, False):
            done = go(machine("one", size=SIZE), machine("two"), direct=direct)
            assert done.destination["sha256"] == sha256_of(SIZE)
        assert bool(used) is (which is not None)


def test_a_host_that_is_gone(go, store, start_sshd):
    go(pour(1), machine("one"))
    with store.machine_lock("one"):
        record = store.load("one")
        store.save(dataclasses.replace(record, ssh=dataclasses.replace(record.ssh, port=free_port())))
    with pytest.raises(MachinectlError) as caught:
        go(pour(1), machine("one"))
    assert (caught.value.machine, caught.value.problem) == ("one", "unreachable")
    assert "the connection was refused" in caught.value.what


def test_small_writes_and_what_the_ends_say(go):
    told = Told()
    done = go(machine("one", size=300_000, part=7), machine("two"), report=told)
    assert (done.way, done.destination["drunk"]) == ("direct", 300_000)
    assert told.lines == ["poured"]


def test_a_limit_is_kept(go):
    began = time.monotonic()
    done = go(machine("one", size=2_000_000), machine("two"), limit_rate=1_000_000)
    assert 1.5 < done.seconds < time.monotonic() - began + 0.1


@pytest.mark.parametrize("direct", [True, False])
def test_the_end_that_failed_is_named_and_the_other_cleans_up(go, tmp_path, direct):
    target = tmp_path / "target"
    with pytest.raises(MachinectlError) as caught:
        go(machine("one", size=SIZE, fail_at=SIZE // 2), machine("two", path=str(target)), direct=direct)
    error = caught.value
    assert (error.machine, error.problem, error.hint) == ("one", "source-changed", "again")
    with pytest.raises(MachinectlError) as caught:
        go(
            machine("one", size=SIZE * 5),
            machine("two", path=str(target), fail_at=SIZE // 2),
            direct=direct,
        )
    assert (caught.value.machine, caught.value.problem) == ("two", "disk-full")
    assert not list(tmp_path.glob("target*"))


def test_a_local_end_that_fails(go, tmp_path):
    target = tmp_path / "target"
    with pytest.raises(MachinectlError) as caught:
        go(pour(SIZE, fail=MachinectlError("it is gone")), machine("one", path=str(target)))
    assert str(caught.value) == "it is gone"
    assert not list(tmp_path.glob("target*"))
    with pytest.raises(MachinectlError) as caught:
        go(pour(SIZE * 5), machine("one", fail_at=SIZE // 2))
    assert (caught.value.machine, caught.value.problem) == ("one", "disk-full")
    with pytest.raises(MachinectlError) as caught:
        go(machine("one", size=SIZE * 5), drink(fail_at=SIZE // 2))
    assert str(caught.value) == "/somewhere: No space left on device"
    with pytest.raises(MachinectlError) as caught:
        go(machine("one", size=SIZE, fail_at=SIZE // 2), drink())
    assert (caught.value.machine, caught.value.problem) == ("one", "source-changed")


def test_what_is_to_be_done_afterwards(go, tmp_path):
    """By the source's agent, when the destination has all of it; and only then."""
    note, target = tmp_path / "note", tmp_path / "target"

    def afterwards(theirs, ours, **more):
        assert target.stat().st_size == theirs["poured"] == ours["drunk"]
        return {"note": str(note), "text": ours["sha256"], **more}

    one, two = machine("one", size=SIZE), machine("two", path=str(target))
    done = go(one, two, afterwards=afterwards)
    assert note.read_text() == sha256_of(SIZE)
    assert (done.way, done.afterwards) == ("direct", {"noted": sha256_of(SIZE)})
    assert done.source == {"poured": SIZE}
    note.unlink()
    with pytest.raises(MachinectlError) as caught:
        go(one, machine("two", path=str(tmp_path / "other"), fail_at=SIZE // 2), afterwards=afterwards)
    assert (caught.value.machine, caught.value.problem) == ("two", "disk-full")
    done = go(one, two, afterwards=afterwards, direct=False)
    assert (done.way, done.afterwards, note.exists()) == ("relay", None, False)
    done = go(one, two, afterwards=functools.partial(afterwards, cut=True))
    assert (done.way, done.afterwards, note.exists()) == ("direct", None, True)


def test_what_can_not_be_done_afterwards_is_said(go, tmp_path):
    with pytest.raises(MachinectlError) as caught:
        go(
            machine("one", size=1),
            machine("two"),
            afterwards=lambda _theirs, _ours: {"note": str(tmp_path), "text": ""},
        )
    assert (caught.value.machine, caught.value.problem) == ("one", "agent-fault")


def test_what_can_not_begin(go):
    with pytest.raises(MachineNotFound):
        go(machine("three", size=1), machine("two"))
    with pytest.raises(MachinectlError) as caught:
        go(MachineEnd("one", "wine", user=""), machine("two"))
    assert (caught.value.machine, caught.value.problem) == ("one", "carry-kind")
    with pytest.raises(MachinectlError) as caught:
        go(MachineEnd("one", "bytes", {"size": 1}, user="nobody-of-that-name"), machine("two"))
    assert (caught.value.machine, caught.value.problem) == ("one", "no-such-user")


KILLED = """
import sys
from tests.contract.test_carry import *
from machinectl.remote import bootstrap, native, streams

def go(store, agents, direct, target):
    bootstrap.start_agent = functools.partial(bootstrap.start_agent, root=agents)
    streams.build_bundle = carry_ends.bundle_with_bytes
    carry(Store(store), machine("one", size=1 << 50), machine("two", path=target), become=Become("none"),
          direct=direct == "True", progress=lambda n: print(n, flush=True))

go(*sys.argv[1:])
"""


@pytest.mark.parametrize("direct", [True, False])
def test_a_killed_controller_ends_both_agents(store, tmp_path, direct):
    agents, target = str(tmp_path / "agents"), str(tmp_path / "target")

    def running():
        found = subprocess.run(["pgrep", "-f", f"{agents}/.* carry$"], capture_output=True, check=False)
        return len(found.stdout.split())

    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(store.path), agents, str(direct), target],
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert int(process.stdout.readline()) > 0
        assert running() == 2
        process.send_signal(signal.SIGKILL)
    until(lambda: not running())
    assert not list(tmp_path.glob("target*"))


def test_resume_gives_a_machine_as_long_to_read_as_the_copy_has(store, tmp_path, monkeypatch):
    """A hundred gigabytes are not hashed in ten minutes."""
    given = []

    def run(*words, deadline, **more):
        given.append(deadline)
        return run_agent(*words, deadline=deadline, root=str(tmp_path / "agents"), **more)

    monkeypatch.setattr(streams, "run_agent", run)
    (tmp_path / "source").write_text("content")
    place = Spot("one", "", str(tmp_path / "target"))
    source = Spot("", "", str(tmp_path / "source"))
    done = copy(store, [source], place, How(resume=True), become=Become(), reporter=Report)
    assert done[0].error is None
    assert given == [WITHIN]
    assert (tmp_path / "target").read_text() == "content"
