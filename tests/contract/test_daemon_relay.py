"""The relay as bootstrap.sh starts it: the daemon's answer where there is one, else the agent with the same request."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from subprocess import PIPE

import pytest

from machinectl_agent import wire
from machinectl_agent.daemon import relay

HASH = "0123456789abcdef0123456789abcdef"
PYTHON = f"{sys.executable} {sys.version.split()[0]}"
HELLO = {**wire.hello(HASH, "1"), "python": PYTHON}
ALIVE = {"event": "alive"}
FACTS = {"event": "facts", "facts": {}}
DONE = wire.done({"changed": 0})
AGENT = """
import os, sys
request = os.fdopen(int(sys.argv[2])).readline()
print("agent", sys.argv[1], len(request), flush=True)
print("told", sys.stdin.readline(), end="")
"""


@pytest.fixture
def tree(tmp_path):
    """A bundle whose agent says what it was asked."""
    folder = tmp_path / HASH
    folder.mkdir()
    (folder / "__main__.py").write_text(AGENT)
    return folder


@pytest.fixture
def heard():
    """Requests that the daemon has had."""
    return []


@pytest.fixture
def daemon(tmp_path, heard):
    """`daemon(before, after)`: one that says the messages before it has a request and after it; tells its path."""
    listener = socket.socket(socket.AF_UNIX)
    path = str(tmp_path / "agent.sock")

    def serve(before, after):
        listener.bind(path)
        listener.listen(1)

        def run():
            client, _ = listener.accept()
            with client, contextlib.suppress(OSError):  # it may have stopped listening
                client.sendall(b"".join(map(wire.encode, before)))
                if after is None:
                    return
                with client.makefile("rb") as lines:
                    heard.append(lines.readline())
                for one in after:
                    client.sendall(wire.encode(one))
                    time.sleep(0.02)  # each by itself

        threading.Thread(target=run, daemon=True).start()
        return path

    yield serve
    listener.close()


def ask(path, tree, size=10):
    """What the relay says to a request, and the request. An agent gets a reply to its first words, too."""
    request = wire.encode(wire.request("apply", {"word": "x" * size}))
    words = [sys.executable, "-IS", relay.__file__, str(path), str(tree), "apply"]
    with subprocess.Popen(words, stdin=PIPE, stdout=PIPE, stderr=PIPE) as child:
        assert child.stdin and child.stdout and child.stderr
        child.stdin.write(request)
        child.stdin.flush()
        said = child.stdout.readline()
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(b"reply\n")
            child.stdin.close()
        said += child.stdout.read()
        assert (child.stderr.read(), child.wait(30)) == (b"", 0)
    return said, request


@pytest.mark.parametrize("size", [10, 500_000])
def test_the_daemon_answers(daemon, heard, tree, size):
    path = daemon([HELLO], [FACTS, ALIVE, DONE])
    said, request = ask(path, tree, size)
    assert [json.loads(line) for line in said.splitlines()] == [HELLO, FACTS, ALIVE, DONE]
    assert heard == [request]


def test_a_slow_host_is_waited_for(daemon, tree):
    said, _ = ask(daemon([HELLO], [ALIVE, ALIVE, FACTS, DONE]), tree)
    assert [json.loads(line) for line in said.splitlines()] == [HELLO, FACTS, DONE]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([{**HELLO, "bundle": "f" * 32}], None),
        ([{**HELLO, "python": "/usr/bin/python3 3.9.1"}], None),
        ([wire.hello(HASH, "1")], None),
        ([HELLO, wire.error("too-many-clients", "busy")], None),
        ([HELLO], None),  # killed
        ([], None),
        ([HELLO], [wire.error("agent-wanted", "there is something to do")]),
        ([HELLO], [wire.error("no-such-verb", "what?")]),
        ([HELLO], []),
        ([HELLO], [ALIVE, wire.error("agent-wanted", "there is something to do")]),
        ([HELLO], [ALIVE] * 3),
    ],
)
@pytest.mark.parametrize("size", [10, 500_000])
def test_else_it_becomes_the_agent(daemon, tree, before, after, size):
    said, request = ask(daemon(before, after), tree, size)
    assert said.decode() == f"agent apply {len(request)}\ntold reply\n"


def test_nobody_listens(tmp_path, tree):
    said, request = ask(tmp_path / "agent.sock", tree)
    assert said.decode() == f"agent apply {len(request)}\ntold reply\n"


def test_a_daemon_that_hangs_is_not_waited_for(tmp_path, tree):
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(tmp_path / "agent.sock"))
        hanging.listen(1)
        began = time.monotonic()
        said, request = ask(tmp_path / "agent.sock", tree)
    assert said.decode() == f"agent apply {len(request)}\ntold reply\n"
    assert time.monotonic() - began < relay.HELLO_PATIENCE * 3


def test_it_loads_nothing_that_has_to_be_read(daemon, tree):
    """Only what a bare Python has loaded, and what is built in: this is what keeps it cheap."""
    python = [sys.executable, "-IS", "-X", "importtime"]
    words = [*python, relay.__file__, daemon([HELLO], [FACTS, DONE]), str(tree), "apply"]
    done = subprocess.run(words, input=b"\n", capture_output=True, timeout=30, check=True)
    bare = subprocess.run([*python, "-c", ""], capture_output=True, timeout=30, check=True)
    loaded, known = ({line.split()[-1] for line in one.stderr.splitlines()} for one in (done, bare))
    assert done.stdout
    assert loaded - known == {b"_socket"}
