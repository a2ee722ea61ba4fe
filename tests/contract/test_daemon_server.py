"""The daemon as a process of its own, on a real socket, with clients that behave and clients that don't."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from machinectl_agent import wire
from machinectl_agent.daemon import client
from machinectl_agent.daemon.settings import Settings
from machinectl_agent.problems import Problem
from tests.frozen import freeze

AGENT = Path(wire.__file__).parents[1]

SERVE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from machinectl_agent.daemon.server import serve
from machinectl_agent.daemon.settings import Settings
from machinectl_agent.daemon.systemd import Systemd
raise SystemExit(serve(Settings(**json.loads(sys.argv[2])), Systemd("docker.service", ("false",))))
"""


class Daemon:
    def __init__(self, folder, watchdog=60_000_000, **more):
        """`watchdog`: microseconds; with few, whoever reads no notices holds it up."""
        self.path = str(folder / "run" / "agent.sock")
        self.settings = {
            "socket": self.path,
            "owner": os.getuid(),
            "engine_socket": str(folder / "docker.sock"),
            "apply_lock": str(folder / "apply.lock"),
            "patience": 1.0,
            "clients": 8,
            **more,
        }
        self.log = folder / "log"
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notices.bind(str(folder / "notify"))
        self.notices.settimeout(60)
        self.environment = {
            "PATH": os.environ["PATH"],
            "NOTIFY_SOCKET": str(folder / "notify"),
            "WATCHDOG_USEC": str(watchdog),
        }
        self.process = self.start()

    def start(self):
        return subprocess.Popen(
            [sys.executable, "-I", "-c", SERVE, str(AGENT), json.dumps(self.settings)],
            env=self.environment,
            stderr=self.log.open("ab"),
        )

    def said(self, word):
        """Waits until systemd has been told this."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if word in self.notices.recv(4096).decode():
                return
        raise AssertionError(word)

    def ask(self, verb="ping", args=None, deadline=30.0):
        return client.ask(verb, args, path=self.path, deadline=deadline)

    def connect(self):
        one = socket.socket(socket.AF_UNIX)
        one.settimeout(60)
        one.connect(self.path)
        return one

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
        self.notices.close()


@pytest.fixture
def daemon(tmp_path, request):
    daemon = Daemon(tmp_path, **getattr(request, "param", {}))
    daemon.said("READY=1")
    yield daemon
    daemon.stop()


def read_all(one):
    """Messages until the other side closes."""
    text = b""
    try:
        while part := one.recv(65536):
            text += part
    except ConnectionResetError:
        pass  # it closed without having read all of ours
    one.close()
    return [json.loads(line) for line in text.splitlines()]


def exchange(daemon, request):
    one = daemon.connect()
    with suppress(BrokenPipeError, ConnectionResetError):  # it had answered before it was told everything
        one.sendall(request)
    return read_all(one)


def test_its_files_are_roots_alone(daemon):
    assert stat.S_IMODE(Path(daemon.path).stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(daemon.path).parent.stat().st_mode) == 0o700


def test_status_says_who_and_how_the_engine_is(daemon):
    status = daemon.ask("status")
    agent, engine = status["agent"], status["engine"]
    assert agent["pid"] == daemon.process.pid
    assert agent["wire"] == wire.WIRE
    assert 5e6 < agent["memory"] < 25e6
    assert agent["uptime"] < 30
    assert engine["state"] == "unknown"  # systemctl is /bin/false here
    assert engine["latency"] is None
    assert status["events"][0]["text"].startswith("machinectl-agent ")
    assert daemon.ask("events", {"last": 1})["events"] == status["events"][-1:]


@pytest.mark.parametrize("daemon", [{"watchdog": 600_000}], indirect=True)
def test_the_watchdog_is_fed_and_the_end_is_announced(daemon):
    for _ in range(3):
        daemon.said("WATCHDOG=1")
    daemon.process.terminate()
    daemon.said("STOPPING=1")
    assert daemon.process.wait(10) == 0
    assert not Path(daemon.path).exists()
    assert "<5>machinectl-agent ends" in daemon.log.read_text()


def test_another_wire_version_is_told_both_numbers(daemon):
    hello, error = exchange(daemon, wire.encode({"wire": 77, "verb": "status", "args": {}}))
    assert hello["event"] == "hello" and hello["wire"] == wire.WIRE
    assert error["problem"] == "wire-version"
    assert "77" in error["what"] and str(wire.WIRE) in error["what"]
    assert "agent upgrade" in error["hint"]


@pytest.mark.parametrize(
    ("request_line", "problem"),
    [
        (b"\xff\xfe\x00 garbage\n", "wire"),
        (b"\n", "wire"),
        (b"[]\n", "wire"),
        (b"[" * 60_000 + b"\n", "wire"),
        (b'{"wire":1}\n', "no-such-verb"),
        (b'{"wire":1,"verb":["status"],"args":{}}\n', "no-such-verb"),
        (b'{"wire":1,"verb":"files","args":{}}\n', "no-such-verb"),
        (b'{"wire":1,"verb":"survey","args":[]}\n', "no-such-verb"),
        (b'{"wire":1,"verb":"survey","args":{"spec":{"engine":7}}}\n', "spec"),
        (b'{"wire":1,"verb":"apply","args":{"spec":{"engine":7}}}\n', "spec"),
        (b'{"wire":1,"verb":"apply","args":{}}\n', "agent-fault"),
        (b'{"wire":1,"verb":"status","args":7}\n', "no-such-verb"),
        (b'{"wire":1,"verb":"events","args":{"last":"all"}}\n', "wire"),
        (b'{"wire":1,"verb":"events","args":{"last":true}}\n', "wire"),
        (b"x" * 1_100_000, "wire"),
        (b"GET / HTTP/1.1\r\n\r\n", "wire"),
    ],
)
def test_nonsense_is_answered_and_harms_nobody(daemon, request_line, problem):
    messages = exchange(daemon, request_line)
    assert [one["event"] for one in messages] == ["hello", "error"]
    assert messages[1]["problem"] == problem
    assert daemon.ask()["pid"] == daemon.process.pid


def test_half_a_request_is_not_waited_for(daemon):
    began = time.monotonic()
    assert exchange(daemon, b'{"wire":1')[-1]["problem"] == "idle"
    assert time.monotonic() - began < 4.9
    one = daemon.connect()
    one.sendall(b'{"wire":1')
    one.shutdown(socket.SHUT_WR)
    assert read_all(one)[-1]["problem"] == "wire"


def test_a_byte_now_and_then_is_not_waited_for(daemon):
    one = daemon.connect()
    began = time.monotonic()
    with pytest.raises(OSError):  # broken pipe or reset, as the kernel likes
        while time.monotonic() - began < 5:
            one.sendall(b" ")
            time.sleep(0.05)
    assert time.monotonic() - began < 4.9
    assert read_all(one)[-1]["problem"] == "idle"


# the hundredth comes long before the first is sent away
@pytest.mark.parametrize("daemon", [{"patience": 5.0}], indirect=True)
def test_a_hundred_connections_are_limited_and_forgotten(daemon):
    crowd = [daemon.connect() for _ in range(100)]
    refused = [read_all(one) for one in crowd[8:]]
    assert {one[-1]["problem"] for one in refused} == {"too-many-clients"}
    end = time.monotonic() + 30
    while True:  # the eight that say nothing lose their places
        try:
            daemon.ask("status")
            break
        except Problem as problem:
            assert problem.code == "too-many-clients"
            assert time.monotonic() < end
            time.sleep(0.05)
    assert {read_all(one)[-1]["problem"] for one in crowd[:8]} == {"idle"}


def test_clients_that_vanish_or_never_read_harm_nobody(daemon):
    for _ in range(50):
        one = daemon.connect()
        with suppress(BrokenPipeError, ConnectionResetError):  # refused before it has said a word
            one.sendall(wire.encode(wire.request("status", {})))
        one.close()
    silent = [daemon.connect() for _ in range(4)]
    for one in silent:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        with suppress(BrokenPipeError, ConnectionResetError):
            one.sendall(wire.encode(wire.request("events", {"last": 200})))
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            assert daemon.ask()["pid"] == daemon.process.pid
            break
        except Problem as problem:
            assert problem.code == "too-many-clients"
    for one in silent:
        one.close()
    assert "Traceback" not in daemon.log.read_text()


def test_a_second_daemon_ends_with_a_reason(daemon):
    second = daemon.start()
    assert second.wait(10) == 1
    assert "another daemon is at work" in daemon.log.read_text()
    assert daemon.ask()["pid"] == daemon.process.pid


def test_a_killed_daemons_socket_is_replaced(daemon):
    daemon.process.kill()
    daemon.process.wait(10)
    assert Path(daemon.path).exists()
    with pytest.raises(Problem, match="does not answer"):
        daemon.ask()
    daemon.process = daemon.start()
    daemon.said("READY=1")
    assert daemon.ask()["pid"] == daemon.process.pid


def test_a_hanging_daemon_is_not_waited_for(daemon):
    freeze(daemon.process.pid)
    try:
        began = time.monotonic()
        with pytest.raises(Problem) as caught:
            daemon.ask(deadline=0.3)
        assert caught.value.code == "daemon-silent"
        assert time.monotonic() - began < 8
    finally:
        os.kill(daemon.process.pid, signal.SIGCONT)


@pytest.mark.root
def test_another_uid_is_sent_away():
    """The folder keeps others out already; here it does not, and the kernel's word about the peer does."""
    if os.getuid() != 0:
        pytest.skip("needs root")
    folder = Path(tempfile.mkdtemp())  # tmp_path is below a folder that only root may enter
    folder.chmod(0o711)
    daemon = Daemon(folder)
    try:
        daemon.said("READY=1")
        Path(daemon.path).parent.chmod(0o711)
        Path(daemon.path).chmod(0o777)
        script = (
            "import os, socket, sys; os.setgid(65534); os.setuid(65534); s = socket.socket(socket.AF_UNIX)\n"
            "s.connect(sys.argv[1]); f = s.makefile(); print(f.readline(), f.readline())"
        )
        text = subprocess.run(
            [sys.executable, "-I", "-c", script, daemon.path], capture_output=True, text=True, check=True
        ).stdout
        assert '"problem":"not-root"' in text and "65534" in text
        assert daemon.ask()["pid"] == daemon.process.pid
    finally:
        daemon.stop()
        shutil.rmtree(folder)


def dial(path, request, **more):
    script = f"import sys; sys.path.insert(0, {str(AGENT)!r})\nfrom machinectl_agent.daemon.dial import dial_stdio\n"
    return subprocess.run(
        [sys.executable, "-I", "-c", f"{script}raise SystemExit(dial_stdio({path!r}))"],
        input=request,
        capture_output=True,
        timeout=20,
        check=False,
        **more,
    )


def test_dial_stdio_carries_a_conversation(daemon):
    done = dial(daemon.path, wire.encode(wire.request("ping", {})))
    assert done.returncode == 0 and done.stderr == b""
    hello, answer = map(json.loads, done.stdout.splitlines())
    assert hello["event"] == "hello"
    assert answer["result"]["pid"] == daemon.process.pid


def test_dial_stdio_carries_a_refusal_of_a_huge_request(daemon):
    done = dial(daemon.path, b"x" * 2_000_000)
    assert done.returncode == 0
    assert json.loads(done.stdout.splitlines()[-1])["problem"] == "wire"


def test_dial_stdio_says_that_no_daemon_is_there(tmp_path):
    done = dial(str(tmp_path / "no.sock"), b"")
    assert done.returncode == 1
    error = json.loads(done.stdout)
    assert error["problem"] == "daemon-not-running"
    assert "agent upgrade" in error["hint"]


def test_settings_point_at_the_real_places():
    settings = Settings()
    assert (settings.socket, settings.owner) == ("/run/machinectl/agent.sock", 0)
