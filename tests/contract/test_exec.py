"""`machinectl exec` and a real sshd: streams, deadlines, Ctrl-C."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from machinectl.model import Machine, SshAddress
from machinectl.store.store import Store
from tests.ports import free_port
from tests.waiting import until

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def store(tmp_path, sshd, key):
    """Three machines that are one sshd, and one that is down."""
    store = Store(tmp_path / "store")
    for name in ("web1", "web2", "db1"):
        store.save(
            Machine(name, "127.0.0.1", SshAddress("127.0.0.1", sshd.port, getpass.getuser(), str(key)))
        )
    dead = SshAddress("127.0.0.1", free_port(), getpass.getuser(), str(key))
    store.save(Machine("dead", "127.0.0.1", dead))
    return store


@pytest.fixture
def start(store):
    def start(*words, **more):
        return subprocess.Popen(
            [sys.executable, "-m", "machinectl", "-s", str(store.path), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **more,
        )

    return start


@pytest.fixture
def call(start):
    def call(*words):
        process = start(*words)
        out, err = process.communicate(timeout=60)
        return process.returncode, out.decode(), err.decode()

    return call


def alive(marker: str) -> list[int]:
    """Processes with this text in their command line, but for our own."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", marker.encode()]:
            found.append(int(path.parent.name))
    return found


def test_streams_are_prefixed_and_kept_apart(call):
    status, out, err = call("exec", "web*", "db1", "--", "echo out; echo err >&2")
    assert status == 0, err
    assert sorted(out.splitlines()) == ["db1  | out", "web1 | out", "web2 | out"]
    assert sorted(err.splitlines()) == ["db1  | err", "web1 | err", "web2 | err"]


def test_words_are_passed_on_as_they_are_and_one_word_is_a_script(call):
    assert call("exec", "web1", "--", "printf", "%s\\n", "a  b", "$HOME", "it's")[1].splitlines() == [
        "web1 | a  b",
        "web1 | $HOME",
        "web1 | it's",
    ]
    assert call("exec", "web1", "--", "echo $((6 * 7)) | tr 4 x")[1] == "web1 | x2\n"
    assert call("exec", "web1", "--", "cat; echo no input")[1] == "web1 | no input\n"


def test_some_fail(call):
    status, out, err = call("exec", "--timeout=20", "all:!db1", "--output", "text", "--", "echo $$; exit 7")
    assert status == 3
    assert len(out.splitlines()) == 2
    assert "3 of 3 machines failed" in err
    assert "web1: exit status 7" in err
    assert "dead: " in err
    status, out, err = call("exec", "web1", "--", "false")
    assert (status, out, err) == (1, "", "error: web1: exit status 1\n")


def test_a_damaged_record_hides_no_other_machine(call, store):
    (store.folder("dead") / "config.json").write_text("{")
    status, out, err = call("exec", "all", "--", "echo ok")
    assert (status, len(out.splitlines())) == (3, 3)
    assert "dead: " in err and "is damaged" in err


def test_json(call):
    status, out, err = call("exec", "--output", "json", "web1", "dead", "--", "printf ab; echo c >&2; exit 4")
    assert status == 3
    one, other = sorted(json.loads(out), key=lambda found: str(found["name"]), reverse=True)
    assert one.pop("seconds") > 0
    assert one == {
        "name": "web1", "status": 4, "stdout": "ab", "stderr": "c\n", "truncated": False, "error": None,
    }  # fmt: skip
    assert other["status"] is None
    assert other["error"]["problem"] == "unreachable"
    assert "web1: exit status 4" in err


def test_a_large_output_arrives_whole_and_in_order(call):
    count = 200_000
    _, out, _ = call("exec", "web*", "--", f"seq {count}")
    for name in ("web1", "web2"):
        lines = [line for line in out.splitlines() if line.startswith(name)]
        assert lines == [f"{name} | {number}" for number in range(1, count + 1)]


def test_lines_come_as_they_are_written(start):
    process = start("exec", "web1", "--", "echo first; sleep 600.25")
    assert process.stdout.readline() == b"web1 | first\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, b"interrupted\n")


def test_ctrl_c_and_the_deadline_end_the_command_on_the_host(start, call):
    process = start("exec", "web*", "--", "sleep 600.5 & sleep 600.5")
    until(lambda: len(alive("600.5")) == 4)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    until(lambda: not alive("600.5"))

    status, _, err = call("exec", "--timeout", "10", "web*", "--", "sleep 600.75")
    assert status == 3
    assert "did not end in time" in err
    until(lambda: not alive("600.75"))


def test_a_controller_that_is_killed_ends_its_commands(start):
    process = start("exec", "web1", "--", "sleep 600.125")
    until(lambda: alive("600.125"))
    process.kill()
    process.communicate()
    until(lambda: not alive("600.125"))


def test_what_ignores_sigterm_is_killed(start):
    process = start("exec", "web1", "--", "trap '' TERM; sleep 600.375; sleep 600.375")
    until(lambda: alive("600.375"))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    until(lambda: not alive("600.375"))


def test_a_reader_that_goes_away(store):
    command = f"{sys.executable} -m machinectl -s '{store.path}' exec web1 -- yes | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "web1 | y\n0\n"
    assert done.stderr == ""


def test_what_can_not_be_meant(call):
    for words in (["web1"], ["web1", "--"], ["--", "true"], ["--parallel", "0", "web1", "--", "true"]):
        assert call("exec", *words)[0] == 2, words
    status, _, err = call("exec", "wev1", "--", "true")
    assert status == 1
    assert "did you mean 'web1'?" in err
    assert call("exec", "--help")[0] == 0


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs pseudo-terminals")
def test_on_a_terminal_names_have_colours_and_nothing_moves_the_cursor(store):
    main, sub = os.openpty()
    command = "printf 'a\\033[2Jb\\n10%%\\r20%%\\n'"
    done = subprocess.Popen(
        [sys.executable, "-m", "machinectl", "-s", str(store.path), "exec", "web1", "--", command],
        stdout=sub,
        env={key: value for key, value in os.environ.items() if key != "NO_COLOR"},
    )
    assert done.wait(60) == 0
    os.close(sub)
    shown = b""
    with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
        while part := os.read(main, 4096):
            shown += part
    text = shown.decode()
    os.close(main)
    assert text == "\x1b[36mweb1 |\x1b[0m a?[2Jb\r\n\x1b[36mweb1 |\x1b[0m 20%\r\n"
