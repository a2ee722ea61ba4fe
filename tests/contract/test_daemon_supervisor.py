"""The supervisor against a dockerd that is a real process on a real unix socket, and a systemd that is not."""

from __future__ import annotations

import fcntl
import io
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from machinectl_agent.daemon.journal import Journal
from machinectl_agent.daemon.settings import Settings
from machinectl_agent.daemon.supervisor import Supervisor
from machinectl_agent.daemon.systemd import Systemd, UnitState
from tests.frozen import freeze
from tests.waiting import until

DOCKERD = """
import os, socket, sys, time
path, mode = sys.argv[1:]
if os.path.exists(path): os.unlink(path)
server = socket.socket(socket.AF_UNIX)
server.bind(path)
server.listen(16)
print("ready", flush=True)
while True:
    client, _ = server.accept()
    try:
        client.recv(4096)
        if mode == "well":
            client.sendall(b"HTTP/1.1 200 OK\\r\\nServer: Docker/26.1.5 (linux)\\r\\nContent-Length: 2\\r\\n\\r\\nOK")
        elif mode == "broken":
            client.sendall(b"HTTP/1.1 500 Internal Server Error\\r\\n\\r\\n")
        elif mode == "garbage":
            client.sendall(b"\\x15\\x03\\x01" * 30000)
        elif mode == "drip":
            for _ in range(1000):
                client.sendall(b"H")
                time.sleep(0.05)
        elif mode == "deaf":
            server.close()
            time.sleep(60)
    except OSError:
        pass  # it waited no longer
    client.close()
"""


class FakeSystemd(Systemd):
    """Starts and kills the fake dockerd, and counts how often it is asked."""

    def __init__(self, folder):
        super().__init__("docker.service")
        self.socket = str(folder / "docker.sock")
        self.active = "inactive"
        self.result = "success"
        self.mode = "well"
        self.process = None
        self.starts = 0
        self.asked = 0
        self.actions = []

    def mark(self):
        return "" if self.active in ("inactive", "failed") else f"run-{self.starts}"

    def show(self):
        self.asked += 1
        pid = self.process.pid if self.process and self.active == "active" else 0
        return UnitState("loaded", self.active, "", self.result, "always", pid, sys.executable)

    def start(self):
        self.actions.append("start")
        self.run()
        return ""

    def restart(self):
        self.actions.append("restart")
        self.end()
        self.run()
        return ""

    def run(self, mode="well"):
        self.process = subprocess.Popen(
            [sys.executable, "-c", DOCKERD, self.socket, mode], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        self.process.stdout.readline()
        self.starts += 1
        self.active = "active"

    def end(self, active="inactive", result="success"):
        if self.process:
            self.process.kill()
            self.process.wait(10)
            self.process.stdout.close()
            self.process = None
        self.active, self.result = active, result


class Scene:
    def __init__(self, folder):
        self.settings = Settings(
            socket=str(folder / "agent.sock"),
            engine_socket=str(folder / "docker.sock"),
            apply_lock=str(folder / "apply.lock"),
            ping_deadline=20,  # a dockerd that is well is slow at most, however busy this machine is
            interval=0.1,
            hurry=0.05,
        )
        self.systemd = FakeSystemd(folder)
        self.journal = Journal(io.StringIO())
        self.now = 1000.0
        self.supervisor = Supervisor(self.settings, self.journal, self.systemd, clock=lambda: self.now)

    def expect_silence(self):
        """From now on each ping costs little time."""
        self.supervisor._settings = replace(self.settings, ping_deadline=0.2)

    def expect_answers(self):
        self.supervisor._settings = self.settings

    @property
    def state(self):
        return self.supervisor.snapshot()["state"]

    def ticks(self, count, seconds=5.0):
        for _ in range(count):
            self.now += seconds
            self.supervisor.tick()
        return self.state


@pytest.fixture
def scene(tmp_path):
    scene = Scene(tmp_path)
    yield scene
    scene.systemd.end()


def test_a_dockerd_that_is_well_costs_no_call_of_systemctl(scene):
    scene.systemd.run()
    assert scene.ticks(100) == "running"
    assert scene.systemd.asked == 1
    shot = scene.supervisor.snapshot()
    assert (shot["version"], shot["pid"]) == ("26.1.5", scene.systemd.process.pid)
    assert shot["latency"] < 5000
    assert shot["problem"] == "" and shot["last_problem"] is None


def test_a_hanging_dockerd_is_restarted_after_three_minutes(scene):
    scene.systemd.run()
    scene.ticks(3)
    freeze(scene.systemd.process.pid)
    scene.expect_silence()
    assert scene.ticks(3, 20) == "silent"
    assert scene.systemd.actions == []
    shot = scene.supervisor.snapshot()
    assert "does not answer" in shot["problem"]
    assert (shot["version"], shot["latency"]) == ("26.1.5", None)
    scene.ticks(8, 20)
    assert scene.systemd.actions == ["restart"]
    scene.expect_answers()
    assert scene.ticks(1) == "running"
    shot = scene.supervisor.snapshot()
    assert (shot["restarts"], shot["interventions"], shot["problem"]) == (1, 1, "")
    assert "does not answer" in shot["last_problem"]["text"] or "not answered" in shot["last_problem"]["text"]
    assert any("restarting docker.service" in one["text"] for one in scene.journal.last(20))


@pytest.mark.parametrize("mode", ["broken", "garbage", "drip", "close", "deaf"])
def test_every_kind_of_bad_answer_counts_as_silence(scene, mode):
    scene.systemd.run(mode)
    scene.expect_silence()
    began = time.monotonic()
    assert scene.ticks(3) in ("silent", "mute")  # deaf: it answered nobody before it closed its socket
    assert time.monotonic() - began < 30  # one whole drip would take 50
    scene.ticks(11, 20)
    assert scene.systemd.actions == ([] if mode == "deaf" else ["restart"])


def test_a_failed_dockerd_is_started_again(scene):
    scene.systemd.run()
    scene.ticks(1)
    scene.systemd.end("failed", "exit-code")
    assert scene.ticks(2) == "failed"
    assert scene.systemd.actions == []
    scene.ticks(1)
    assert scene.systemd.actions == ["start"]
    assert scene.ticks(1) == "running"
    assert scene.supervisor.snapshot()["restarts"] == 1


def test_a_stopped_dockerd_is_never_woken(scene):
    """Whoever connects to a socket that systemd holds starts dockerd: nobody may connect."""
    scene.systemd.run()
    scene.ticks(2)
    scene.systemd.end()
    Path(scene.systemd.socket).unlink()
    with socket.socket(socket.AF_UNIX) as systemds_own:
        systemds_own.bind(scene.systemd.socket)
        systemds_own.listen(5)
        systemds_own.setblocking(False)
        assert scene.ticks(50) == "stopped"
        with pytest.raises(BlockingIOError):
            systemds_own.accept()
        # on its way down dockerd closes its own descriptor first: systemd's would queue a ping
        scene.systemd.active = "active"
        scene.systemd.starts += 1
        scene.systemd.process = subprocess.Popen(["sleep", "60"], stdout=subprocess.PIPE, text=True)
        assert scene.ticks(5) == "mute"
        with pytest.raises(BlockingIOError):
            systemds_own.accept()
    assert scene.systemd.actions == []


def test_nothing_is_done_while_an_apply_is_at_work(scene):
    scene.systemd.run()
    scene.ticks(1)
    scene.systemd.end("failed", "exit-code")
    with open(scene.settings.apply_lock, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        scene.ticks(100)
        assert scene.systemd.actions == []
    scene.ticks(4)
    assert scene.systemd.actions == ["start"]
    assert scene.supervisor.snapshot()["interventions"] == 1


def test_an_action_is_decided_by_what_systemd_says_right_then(scene):
    scene.systemd.run()
    scene.ticks(1)
    freeze(scene.systemd.process.pid)
    scene.expect_silence()
    scene.ticks(5)
    scene.systemd.active = "deactivating"  # an admin's stop, and no new mark
    scene.ticks(100)
    assert scene.systemd.actions == []


def test_death_is_noticed_at_once_and_the_end_too(scene):
    """In real time, with an interval that would take too long."""
    settings = Settings(
        engine_socket=scene.settings.engine_socket, apply_lock=scene.settings.apply_lock, interval=30
    )
    supervisor = Supervisor(settings, scene.journal, scene.systemd)
    scene.systemd.run()
    ending, end = os.pipe()
    thread = threading.Thread(target=supervisor.run, args=(ending,))
    thread.start()
    try:
        until(lambda: supervisor.snapshot()["state"] == "running")
        scene.systemd.active = "activating"
        scene.systemd.process.kill()
        until(lambda: supervisor.snapshot()["state"] == "starting")
    finally:
        os.write(end, b"x")
        thread.join(5)
        os.close(ending)
        os.close(end)
    assert not thread.is_alive()
