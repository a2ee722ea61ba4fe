"""Package sources over a real network: signing keys, servers that do not answer, locks that others hold."""

from __future__ import annotations

import contextlib
import http.server
import socket
import subprocess
import sys
import threading
import time

import pytest

from machinectl_agent.host import Host
from machinectl_agent.problems import Problem
from machinectl_agent.provisioners import apt_locks, mirror, reach

KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDMEZ\n-----END PGP PUBLIC KEY BLOCK-----\n"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = {
            "/gpg": KEY.encode(),
            "/login": b"<html>please log in</html>",
            "/endless": KEY.encode() + b"x" * 400_000,
        }.get(self.path.removeprefix("http://mirror.invalid"))
        self.send_response(200 if body else 404)
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *words):
        """Not on the test's output."""


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_key(server):
    said: list[str] = []
    assert mirror.fetch_key(f"{server}/gpg", said.append, {}) == KEY
    assert "plain http" in said[0]


def test_key_through_a_proxy(server):
    assert mirror.fetch_key("http://mirror.invalid/gpg", print, {"http": server}) == KEY


@pytest.mark.parametrize("path", ["nothing", "login", "endless"])
def test_what_is_no_key(server, path):
    with pytest.raises(Problem) as raised:
        mirror.fetch_key(f"{server}/{path}", print, {})
    assert raised.value.code == "mirror-wrong"


def test_mirror_that_is_silent():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(Problem) as raised:
            mirror.fetch_key(f"http://127.0.0.1:{silent.getsockname()[1]}/gpg", print, {})
    assert raised.value.code == "mirror-unreachable"
    assert time.monotonic() - began < mirror.DEADLINE


def test_knocking_ends_with_the_first_answer(server):
    port = int(server.rpartition(":")[2])
    began = time.monotonic()
    # 192.0.2.1 is nobody's (RFC 5737)
    assert reach.knock({("192.0.2.1", 80), ("127.0.0.1", port)}) is None
    assert time.monotonic() - began < 5


def test_knocking_at_closed_doors():
    began = time.monotonic()
    trouble = reach.knock({("127.0.0.1", 1), ("192.0.2.1", 80)}, silence=1.0)
    assert time.monotonic() - began < 8
    assert trouble is not None
    assert set(trouble) == {"127.0.0.1", "192.0.2.1"}
    assert "refused" in reach.reasons(trouble)


def test_a_silent_door_is_told_as_such_whoever_looks_first():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as silent, contextlib.ExitStack() as fillers:
        for _ in range(4):  # what comes to a full backlog is dropped
            one = fillers.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(silent.getsockname())
        said = {reach.reasons(reach.knock({silent.getsockname()}, silence=0.05) or {}) for _ in range(50)}
    assert said == {"127.0.0.1: no answer within 0 s"}


@pytest.fixture
def held_lock(tmp_path):
    """A host folder whose dpkg lock another process holds until its stdin is closed."""
    lock = tmp_path / apt_locks.LOCKS[0].lstrip("/")
    lock.parent.mkdir(parents=True)
    program = f"import fcntl; f=open({str(lock)!r}, 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout and child.stdout.readline()
        yield Host(str(tmp_path)), child
        if child.poll() is None:
            child.kill()


def test_lock_that_is_not_let_go(held_lock):
    host, child = held_lock
    said: list[str] = []
    with pytest.raises(Problem) as raised:
        apt_locks.wait_until_free(host, said.append, wait=0.6)
    assert raised.value.code == "packages-locked"
    assert f"process {child.pid}" in raised.value.why
    assert len(said) == 1


def test_lock_that_is_let_go(held_lock):
    host, child = held_lock
    threading.Timer(0.4, child.stdin.close).start()
    apt_locks.wait_until_free(host, print, wait=10)
    assert apt_locks.holder(host) is None
